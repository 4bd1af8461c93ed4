/* SPDX-License-Identifier: MIT */
/*
 * progress.c - one line, redrawn at most ten times a second, never wider than
 * the terminal, and gone when the action ends.
 */
#include "progress.h"

#include "output.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_MAX_BYTES 1024

static volatile sig_atomic_t stop_asked;

static void on_signal(int sig)
{
	(void)sig;
	stop_asked = 1;
}

void cs_progress_catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_handler = on_signal;
	act.sa_flags = SA_RESTART | (int)SA_RESETHAND;
	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* What nohup or a shell without job control ignores stays ignored. */
		if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaction(signals[i], &act, NULL);
	}
}

bool cs_progress_stopped(void)
{
	return stop_asked != 0;
}

void cs_progress_init(struct cs_progress_line *l, bool quiet)
{
	memset(l, 0, sizeof(*l));
	l->enabled = !quiet && isatty(STDERR_FILENO) == 1;
}

static size_t terminal_width(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
		return w.ws_col;
	return 80;
}

/* Cut a text after so many characters; a character is a byte that continues no other. */
static void cut(char *text, size_t columns)
{
	size_t seen = 0;

	for (char *p = text; *p != '\0'; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80 && seen++ == columns) {
			*p = '\0';
			return;
		}
	}
}

static int percent(const struct cs_progress *p)
{
	uint64_t done = p->total_bytes ? p->bytes : p->entries;
	uint64_t all = p->total_bytes ? p->total_bytes : p->total_entries;

	if (all == 0)
		return -1;
	return done >= all ? 100 : (int)((double)done * 100 / (double)all);
}

void cs_progress_show(struct cs_progress_line *l, const struct cs_progress *p)
{
	char text[LINE_MAX_BYTES], share[16] = "", size[CS_OUT_TEXT];
	double now;
	int n;

	if (!l->enabled)
		return;
	now = cs_out_now();
	if (now - l->last < REDRAW_SECONDS)
		return;
	l->last = now;
	if (percent(p) >= 0)
		snprintf(share, sizeof(share), " %3d%%", percent(p));
	n = snprintf(text, sizeof(text), "%s%s  %" PRIu64 " entries  %s  ", p->what, share,
		     p->entries, cs_out_size(p->bytes, size));
	if (p->path && n > 0 && (size_t)n < sizeof(text))
		cs_text_escape(p->path, strlen(p->path), false, text + n, sizeof(text) - (size_t)n);
	cut(text, terminal_width() - 1);
	fprintf(stderr, "\r%s\033[K", text);
	fflush(stderr);
	l->shown = true;
}

void cs_progress_wipe(struct cs_progress_line *l)
{
	if (!l->shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	l->shown = false;
}
