/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include "alloc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 4
#define BUCKETS 1024

struct shard;

struct held {
	uint64_t key; /* immutable */
	struct shard *shard;
	void *value;
	size_t size;
	unsigned refs; /* users; all below guarded by shard->lock */
	bool filling;
	struct held *chain;
	struct held *newer, *older; /* least recently used list, while refs == 0 */
};

struct shard {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct cs_cache *cache;
	struct held *bucket[BUCKETS];
	struct held *newest, *oldest;
	size_t bytes;
	struct cs_cache_stats stats;
};

struct cs_cache {
	struct shard shard[SHARDS];
	cs_cache_destroy *destroy;   /* immutable */
	void (*before_wait)(void);   /* immutable */
	size_t shard_bytes;        /* immutable */
};

static uint64_t mix(uint64_t v)
{
	v ^= v >> 32;
	v *= 0x9e3779b97f4a7c15ull;
	return v ^ v >> 29;
}

static struct shard *shard_of(struct cs_cache *c, uint64_t key)
{
	return &c->shard[mix(key) >> 40 & (SHARDS - 1)];
}

static struct held **bucket_of(struct shard *s, uint64_t key)
{
	return &s->bucket[mix(key) & (BUCKETS - 1)];
}

struct cs_cache *cs_cache_new(size_t bytes, cs_cache_destroy *destroy, void (*before_wait)(void))
{
	struct cs_cache *c = cs_zalloc(sizeof(*c));
	if (!c)
		return NULL;
	c->destroy = destroy;
	c->before_wait = before_wait;
	c->shard_bytes = bytes / SHARDS;
	for (int i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&c->shard[i].lock, NULL);
		pthread_cond_init(&c->shard[i].filled, NULL);
		c->shard[i].cache = c;
	}
	return c;
}

static void list_remove(struct shard *s, struct held *h)
{
	if (h->newer)
		h->newer->older = h->older;
	else
		s->newest = h->older;
	if (h->older)
		h->older->newer = h->newer;
	else
		s->oldest = h->newer;
	h->newer = h->older = NULL;
}

static void list_add(struct shard *s, struct held *h)
{
	h->older = s->newest;
	h->newer = NULL;
	if (s->newest)
		s->newest->newer = h;
	else
		s->oldest = h;
	s->newest = h;
}

static void unlink_entry(struct shard *s, struct held *h)
{
	struct held **p = bucket_of(s, h->key);
	while (*p != h)
		p = &(*p)->chain;
	*p = h->chain;
}

/* Take idle entries out until the shard fits; the caller destroys them without the lock. */
static struct held *evict(struct shard *s)
{
	struct held *victims = NULL;
	size_t most = s->cache->shard_bytes;
	while (s->bytes > most && s->oldest && (s->oldest != s->newest || s->oldest->size <= most)) {
		struct held *h = s->oldest;
		list_remove(s, h);
		unlink_entry(s, h);
		s->bytes -= h->size;
		s->stats.evictions++;
		h->chain = victims;
		victims = h;
	}
	return victims;
}

static void destroy_all(struct cs_cache *c, struct held *h)
{
	while (h) {
		struct held *next = h->chain;
		c->destroy(h->value);
		free(h);
		h = next;
	}
}

void cs_cache_free(struct cs_cache *c)
{
	if (!c)
		return;
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];
		for (int b = 0; b < BUCKETS; b++)
			destroy_all(c, s->bucket[b]);
		pthread_mutex_destroy(&s->lock);
		pthread_cond_destroy(&s->filled);
	}
	free(c);
}

static struct held *find(struct shard *s, uint64_t key)
{
	struct held *h = *bucket_of(s, key);
	while (h && h->key != key)
		h = h->chain;
	return h;
}

/* Called with the lock held: a filled entry to use, or NULL when the caller is to fill it. */
static struct held *wait_for(struct shard *s, uint64_t key)
{
	struct held *h;
	while ((h = find(s, key)) && h->filling) {
		if (s->cache->before_wait)
			s->cache->before_wait();
		pthread_cond_wait(&s->filled, &s->lock);
	}
	if (h && h->refs++ == 0)
		list_remove(s, h);
	return h;
}

static int fill_entry(struct shard *s, struct held *h, cs_cache_fill *fill, void *arg,
		      struct cs_error *err)
{
	void *value;
	size_t size;
	int rc = fill(arg, h->key, &value, &size, err);
	struct held *victims = NULL;

	pthread_mutex_lock(&s->lock);
	h->filling = false;
	if (rc == CS_OK) {
		h->value = value;
		h->size = size + sizeof(*h);
		s->bytes += h->size;
		victims = evict(s);
	} else {
		unlink_entry(s, h);
	}
	pthread_cond_broadcast(&s->filled);
	pthread_mutex_unlock(&s->lock);
	destroy_all(s->cache, victims);
	if (rc != CS_OK)
		free(h);
	return rc;
}

int cs_cache_get(struct cs_cache *c, uint64_t key, cs_cache_fill *fill, void *arg,
		 void **out_held, void **out_value, struct cs_error *err)
{
	struct shard *s = shard_of(c, key);
	pthread_mutex_lock(&s->lock);
	struct held *h = wait_for(s, key);
	if (h) {
		s->stats.hits++;
		pthread_mutex_unlock(&s->lock);
	} else {
		h = cs_zalloc(sizeof(*h));
		if (h) {
			*h = (struct held){ .key = key, .shard = s, .refs = 1, .filling = true };
			h->chain = *bucket_of(s, key);
			*bucket_of(s, key) = h;
			s->stats.misses++;
		}
		pthread_mutex_unlock(&s->lock);
		if (!h)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		int rc = fill_entry(s, h, fill, arg, err);
		if (rc != CS_OK)
			return rc;
	}
	*out_held = h;
	*out_value = h->value;
	return CS_OK;
}

bool cs_cache_has(struct cs_cache *c, uint64_t key)
{
	struct shard *s = shard_of(c, key);
	pthread_mutex_lock(&s->lock);
	bool there = find(s, key) != NULL;
	pthread_mutex_unlock(&s->lock);
	return there;
}

void cs_cache_hold(void *held)
{
	struct held *h = held;
	pthread_mutex_lock(&h->shard->lock);
	h->refs++;
	pthread_mutex_unlock(&h->shard->lock);
}

void cs_cache_release(void *held)
{
	struct held *h = held, *victims = NULL;
	if (!h)
		return;
	struct shard *s = h->shard;
	pthread_mutex_lock(&s->lock);
	if (--h->refs == 0) {
		list_add(s, h);
		victims = evict(s);
	}
	pthread_mutex_unlock(&s->lock);
	destroy_all(s->cache, victims);
}

void cs_cache_stats(struct cs_cache *c, struct cs_cache_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (int i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shard[i];
		pthread_mutex_lock(&s->lock);
		out->hits += s->stats.hits;
		out->misses += s->stats.misses;
		out->evictions += s->stats.evictions;
		out->bytes += s->bytes;
		pthread_mutex_unlock(&s->lock);
	}
}
