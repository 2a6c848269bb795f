//! Tests against a real engine, the one that `DOCKER_HOST` names. `tests/run` brings one where there is none, and
//! the images and registries that these tests use; without it they are ignored.
//!
//! `support` is the world of one test, `proxy` stands before the engine's socket, `terminal` is a person before a
//! terminal, `browser` a browser, `sweep` says which calls are disturbed, `git_server` a git server, `harness` proves the first two and the stand-in image. Each other module proves one part of the tool.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod browser;
mod convergence;
mod daily;
mod data;
mod doctor;
mod dry_run;
mod egress;
mod ending;
mod engine_restart;
mod engines;
mod export;
mod git_server;
mod harness;
mod hostile;
mod images;
mod in_the_way;
mod kube;
mod library;
mod lifecycle;
mod logs;
mod mounts;
mod open;
mod other_tag;
mod page;
mod provider;
#[allow(dead_code)]
mod proxy;
mod push;
mod real;
mod relocate;
mod scheduled;
mod seccomp;
mod ssh;
mod ssh_agent;
mod supervise;
#[allow(dead_code)]
mod support;
mod sweep;
mod taken_over;
mod terminal;
mod uninstall;
mod watch;
mod wizard;
