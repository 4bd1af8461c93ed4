/* SPDX-License-Identifier: MIT */
#include "fs/awake.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEVICE world_path("device")
#define DRIVER world_path("driver")
#define ANY 2000000000
#define AWAKE 0

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* What the device was told last; -1: nothing. */
static int32_t told(void)
{
	int32_t us = -1;
	int fd = open(DEVICE, O_RDONLY);

	assert_true(fd >= 0);
	if (read(fd, &us, sizeof(us)) != sizeof(us))
		us = -1;
	close(fd);
	return us;
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static bool told_within_seconds(int32_t us, unsigned seconds)
{
	for (unsigned i = 0; i < seconds * 1000 && told() != us; i++)
		pause_ms(1);
	return told() == us;
}

static struct cs_awake *new_awake(enum cs_awake_when when)
{
	const struct cs_awake_opts opts = { when, DEVICE, DRIVER };
	struct cs_awake *a;
	struct cs_error err;

	put(DEVICE, "");
	assert_int_equal(cs_awake_new(&opts, &a, &err), 0);
	assert_int_equal(cs_awake_start(a, &err), 0);
	return a;
}

static void in_a_guest_many_questions_keep_processors_awake(void **state)
{
	(void)state;
	put(DRIVER, "haltpoll\n");
	struct cs_awake *a = new_awake(CS_AWAKE_AUTO);

	assert_non_null(a);
	assert_int_equal(told(), ANY);
	for (unsigned i = 0; i < 20000 && told() != AWAKE; i++)
		for (unsigned k = 0; k < 100; k++)
			cs_awake_answered(a);
	assert_int_equal(told(), AWAKE);
	assert_true(told_within_seconds(ANY, 20));

	/* and again */
	for (unsigned i = 0; i < 20000 && told() != AWAKE; i++)
		for (unsigned k = 0; k < 100; k++)
			cs_awake_answered(a);
	assert_int_equal(told(), AWAKE);
	cs_awake_stop(a);
	assert_int_equal(told(), ANY);
	cs_awake_free(a);
}

static void few_questions_do_not(void **state)
{
	(void)state;
	put(DRIVER, "haltpoll\n");
	struct cs_awake *a = new_awake(CS_AWAKE_AUTO);

	for (unsigned i = 0; i < 200; i++) {
		cs_awake_answered(a);
		pause_ms(1); /* or more: then they are even fewer */
		assert_int_equal(told(), ANY);
	}
	cs_awake_free(a);
}

static void elsewhere_only_when_asked_for(void **state)
{
	(void)state;
	struct cs_awake *a;

	put(DRIVER, "intel_idle\n");
	assert_null(new_awake(CS_AWAKE_AUTO));
	assert_int_equal(told(), -1);
	unlink(DRIVER);
	assert_null(new_awake(CS_AWAKE_AUTO));
	a = new_awake(CS_AWAKE_FAST);
	assert_non_null(a);
	assert_int_equal(told(), ANY);
	cs_awake_free(a);
	put(DRIVER, "haltpoll\n");
	assert_null(new_awake(CS_AWAKE_NORMAL));
	assert_int_equal(told(), -1);
}

static void without_the_device_only_who_insists_is_told(void **state)
{
	(void)state;
	struct cs_awake_opts opts = { CS_AWAKE_AUTO, "nothing/here", DRIVER };
	struct cs_awake *a;
	struct cs_error err;

	put(DRIVER, "haltpoll\n");
	assert_int_equal(cs_awake_new(&opts, &a, &err), 0);
	assert_null(a);
	assert_int_equal(cs_awake_start(a, &err), 0);
	cs_awake_answered(a);
	cs_awake_stop(a);
	cs_awake_free(a);
	opts.when = CS_AWAKE_FAST;
	assert_true(cs_awake_new(&opts, &a, &err) < 0);
	assert_non_null(strstr(err.text, "nothing/here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_guest_many_questions_keep_processors_awake),
		cmocka_unit_test(few_questions_do_not),
		cmocka_unit_test(elsewhere_only_when_asked_for),
		cmocka_unit_test(without_the_device_only_who_insists_is_told),
	};
	return cmocka_run_group_tests_name("awake", tests, world_begin, world_end);
}
