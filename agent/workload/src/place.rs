//! What a control group's path says of who runs in it: systemd's unit, the container, the pod.
//!
//! Whoever owns a group may make others below it, and name them as it likes. So the outermost name counts: it was given by
//! systemd, or by the container's engine, and what is below it was given by what runs there.

/// Endings of the units that processes run in (systemd.unit(5)). Slices only group others.
const UNITS: [&str; 2] = [".service", ".scope"];

/// Length of a container's id in hexadecimal, with every engine.
const ID: usize = 64;

/// The unit that the system's manager made: the outermost. Of what a container has inside, nothing is believed.
pub(crate) fn system_unit(cgroup: &str) -> Option<&str> {
    outside(cgroup).find(|part| is_unit(part))
}

/// The unit that a user's own manager made, below `user@UID.service`. Its name is that user's choice.
pub(crate) fn user_unit(cgroup: &str) -> Option<&str> {
    let mut parts = outside(cgroup);
    parts.find(|part| is_user_manager(part))?;
    parts.find(|part| is_unit(part))
}

/// The parts of a path down to the container or pod, which is left out.
fn outside(cgroup: &str) -> impl Iterator<Item = &str> {
    cgroup.split('/').take_while(|part| container_in(part).is_none() && pod_in(part).is_none())
}

fn is_unit(part: &str) -> bool {
    UNITS.iter().any(|ending| part.len() > ending.len() && part.ends_with(ending))
}

fn is_user_manager(part: &str) -> bool {
    let uid = part.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
    uid.is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The outermost container's id in a path. The forms: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `libpod-ID.scope` where systemd manages the groups, and `docker/ID`, `kubepods/…/ID`, `libpod_parent/libpod-ID` where it does not.
pub(crate) fn container(cgroup: &str) -> Option<&str> {
    cgroup.split('/').find_map(container_in)
}

fn container_in(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (engine, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    // Next to its container CRI-O and Podman keep a group for the monitor, which calls nobody.
    let is_id = id.len() == ID && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && !engine.ends_with("conmon")).then_some(id)
}

/// The uid of the Kubernetes pod, in the API's own spelling. The kubelet's forms, with and without systemd:
/// `kubepods-burstable-pod<uid, with _ for ->.slice` and `kubepods/burstable/pod<uid>`, also below a kubelet's own slice. Nothing
/// below a unit or container is believed, but containerd's service, in which kubelets without cgroup settings put their pods.
pub(crate) fn pod(cgroup: &str) -> Option<String> {
    let mut below_kubelet = false;
    for part in cgroup.split('/') {
        below_kubelet |= part.contains("kubepods");
        if let Some(uid) = pod_in(part).filter(|_| below_kubelet) {
            return Some(uid);
        }
        if container_in(part).is_some() || (is_unit(part) && part != "containerd.service") {
            return None;
        }
    }
    None
}

fn pod_in(part: &str) -> Option<String> {
    let slice = part.split(':').next()?;
    let name = match slice.strip_suffix(".slice") {
        Some(name) => name.rsplit_once("-pod")?.1,
        None => slice.strip_prefix("pod")?,
    };
    // 36 characters, or the hash of its file for a pod that the kubelet read from one.
    let uid = name.replace('_', "-");
    let is_uid = matches!(uid.len(), 32 | 36)
        && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        && (uid.len() == 32) != uid.contains('-');
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    const UID: &str = "12345678-1234-1234-1234-123456789abc";

    #[test]
    fn services_and_scopes_of_the_system_are_units() {
        assert_eq!(system_unit("/system.slice/app.service"), Some("app.service"));
        assert_eq!(system_unit("/system.slice/system-worker.slice/worker@7.service/child"), Some("worker@7.service"));
        assert_eq!(system_unit("/user.slice/user-1000.slice/session-3.scope"), Some("session-3.scope"));
        for none in ["/", "", "/user.slice", "/.service", "/tollgate-exec-7", "/service"] {
            assert_eq!((system_unit(none), user_unit(none)), (None, None), "{none}");
        }
    }

    #[test]
    fn a_users_own_unit_is_told_apart_from_the_systems() {
        let ide = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-code-77.scope";
        assert_eq!((system_unit(ide), user_unit(ide)), (Some("user@1000.service"), Some("app-code-77.scope")));
        let manager = "/user.slice/user-1000.slice/user@1000.service/init.scope";
        assert_eq!(user_unit(manager), Some("init.scope"));
    }

    #[test]
    fn nobody_takes_a_systems_unit_by_naming_a_group_of_its_own_after_it() {
        let user = "/user.slice/user-1000.slice/user@1000.service/system.slice/billing.service";
        assert_eq!(system_unit(user), Some("user@1000.service"));
        let service = "/system.slice/web.service/system.slice/billing.service";
        assert_eq!((system_unit(service), user_unit(service)), (Some("web.service"), None));
        let container = format!("/docker/{SOME}/system.slice/billing.service");
        assert_eq!((system_unit(&container), user_unit(&container)), (None, None));
    }

    #[test]
    fn containers_are_found_in_the_form_of_every_engine() {
        for form in [
            "/system.slice/docker-ID.scope",
            "/docker/ID",
            "/docker/ID/inner.service/below",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "/libpod_parent/libpod-ID",
            "/machine.slice/libpod-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12.slice/cri-containerd-ID.scope",
            "/kubepods/besteffort/pod12345678-1234-1234-1234-123456789abc/ID",
            "/kubepods.slice/kubepods-pod12.slice/crio-ID.scope",
            "/system.slice/containerd.service/kubepods-pod12.slice:cri-containerd:ID",
        ] {
            assert_eq!(container(&form.replace("ID", SOME)), Some(SOME), "{form}");
        }
        for none in ["/", "/docker/abc", "/crio-conmon-ID.scope", "/docker/IDx", "/system.slice/app.service"] {
            assert_eq!(container(&none.replace("ID", SOME)), None, "{none}");
        }
    }

    #[test]
    fn a_container_within_a_container_is_the_outer_one() {
        assert_eq!(container(&format!("/docker/{SOME}/docker/{OTHER}")), Some(SOME));
        assert_eq!(system_unit(&format!("/system.slice/docker-{SOME}.scope")), None);
    }

    #[test]
    fn pods_are_found_in_every_form_that_kubelets_write() {
        for form in [
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope",
            "/kubepods/besteffort/podUID/ID",
            "/kubepods/podUID/ID",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podUID_.slice/cri-containerd-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID",
        ] {
            let path = form.replace("UID_", &UID.replace('-', "_")).replace("UID", UID).replace("ID", SOME);
            assert_eq!(pod(&path).as_deref(), Some(UID), "{form}");
        }
        let by_file = "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/x";
        assert_eq!(pod(by_file).as_deref(), Some("0123456789abcdef0123456789abcdef"));
        for none in ["/", "/kubepods/pod12/x", "/kubepods.slice/kubepods-burstable.slice", "/machine.slice/pod-x"] {
            assert_eq!(pod(none), None, "{none}");
        }
    }

    #[test]
    fn nobody_becomes_a_pod_by_naming_a_group_of_its_own_after_it() {
        let other = "abcdefab-1234-1234-1234-123456789abc";
        for forged in [
            format!("/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{UID}.slice/x"),
            format!("/system.slice/web.service/kubepods/pod{UID}/{SOME}"),
            format!("/docker/{SOME}/kubepods/pod{UID}/{OTHER}"),
            format!("/pod{UID}"),
        ] {
            assert_eq!(pod(&forged), None, "{forged}");
        }
        let within = format!("/kubepods/burstable/pod{UID}/{SOME}/kubepods/pod{other}/{OTHER}");
        assert_eq!(pod(&within).as_deref(), Some(UID), "what runs in a pod cannot leave it so");
    }
}
