/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: owns every part, starts them in order, stops them in the reverse, and answers
 * signals. Nothing below it exits the process.
 */
#ifndef ETAGD_DAEMON_H
#define ETAGD_DAEMON_H

struct conf;
struct conf_error;

/* Runs until SIGTERM or SIGINT. conf is taken over. reread(arg, err) builds a configuration anew for
 * SIGHUP; NULL and err->text when it is faulty (then the running one stays). Returns the exit status:
 * 0 after a drain, 1 when it could not start (err->text). */
int daemon_run(struct conf *conf, struct conf *(*reread)(void *arg, struct conf_error *err), void *arg,
               struct conf_error *err);

#endif
