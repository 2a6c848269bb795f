//! Which system calls a container may make: the security options of a container, and what holds for our profile.
//!
//! The profile, `docker/seccomp.json`, allows what the defaults of Docker 20.10.24 and of Docker 29 both allow to a
//! container without capabilities. So it is weaker than neither, and an old engine gets what later ones refuse: `AF_VSOCK`
//! and `AF_ALG` sockets, `io_uring`. (Earlier 20.10 also refuse six to eight harmless calls that are younger than they are, such
//! as those of Landlock.) It replaces a `seccomp-profile` that an administrator gave the engine, as any profile of a
//! container does. 32-bit x86 programs of a C library that opens sockets by `socketcall` have no network: no filter sees
//! the family there.

use super::About;
use crate::appliance::SECCOMP_PROFILE;

/// The `SecurityOpt` of a container in which the agent runs.
pub(super) fn security_opt(engine: &About) -> Vec<String> {
    let mut options = vec!["no-new-privileges".to_owned()];
    // Podman takes a path of its own machine here, not the profile; it keeps its own default.
    if !engine.is_podman() {
        options.push(format!("seccomp={SECCOMP_PROFILE}"));
    }
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    /// Left out of the profile on purpose, by theme. They answer EPERM.
    const REFUSED: [(&str, &str); 14] = [
        ("kernel modules", "init_module finit_module delete_module create_module query_module"),
        ("another kernel, the machine", "kexec_load kexec_file_load reboot swapon swapoff acct syslog"),
        ("keys, which have no namespace", "keyctl add_key request_key"),
        ("code in the kernel", "bpf perf_event_open userfaultfd"),
        ("io_uring, which makes calls that no filter sees", "io_uring_setup io_uring_enter io_uring_register"),
        ("mounts", "mount umount umount2 pivot_root chroot move_mount mount_setattr"),
        ("mounts, the newer calls", "open_tree fsopen fsconfig fsmount fspick"),
        ("namespaces", "unshare setns sethostname setdomainname"),
        (
            "files past the mounts",
            "open_by_handle_at name_to_handle_at lookup_dcookie fanotify_init quotactl quotactl_fd",
        ),
        ("other processes", "process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp"),
        ("the clock", "settimeofday stime clock_settime clock_settime64"),
        ("hardware", "ioperm iopl vm86 vm86old vhangup"),
        ("memory nodes", "mbind set_mempolicy get_mempolicy migrate_pages move_pages set_mempolicy_home_node"),
        ("what nobody calls any more", "nfsservctl uselib ustat sysfs _sysctl afs_syscall"),
    ];

    fn rules() -> Vec<Value> {
        let profile: Value = serde_json::from_str(SECCOMP_PROFILE).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        profile["syscalls"].as_array().unwrap().clone()
    }

    fn names(rule: &Value) -> impl Iterator<Item = &str> {
        rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap())
    }

    #[test]
    fn refused_calls_are_in_no_rule() {
        let rules = rules();
        let named: BTreeSet<&str> = rules.iter().flat_map(names).collect();
        for (theme, calls) in REFUSED {
            for call in calls.split(' ') {
                assert!(!named.contains(call), "{theme}: {call}");
            }
        }
    }

    #[test]
    fn a_call_is_in_one_rule_but_personality() {
        let rules = rules();
        let mut seen = BTreeSet::new();
        for name in rules.iter().flat_map(names).filter(|name| *name != "personality") {
            assert!(seen.insert(name), "{name} is there twice: the wider rule would win");
        }
    }

    #[test]
    fn flags_of_new_namespaces_are_masked() {
        // CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of linux/sched.h. NEWTIME is none of clone's.
        let namespaces = 0x2_0000 | 0x200_0000 | 0x400_0000 | 0x800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;
        let rules = rules();
        let clone = rules.iter().find(|rule| names(rule).any(|name| name == "clone")).unwrap();
        assert_eq!(
            clone["args"],
            json!([{ "index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": namespaces, "valueTwo": 0 }])
        );
    }

    #[test]
    fn podman_keeps_its_own_profile() {
        let engine = |name: &str| About {
            endpoint: String::new(),
            origin: String::new(),
            name: name.to_owned(),
            version: String::new(),
            api_version: String::new(),
            architecture: String::new(),
        };
        assert_eq!(security_opt(&engine("Podman")), ["no-new-privileges"]);
        assert_eq!(security_opt(&engine("rootless Docker"))[1], format!("seccomp={SECCOMP_PROFILE}"));
    }
}
