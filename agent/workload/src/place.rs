//! What a control group's path says of who runs in it: systemd's unit, and the container.

/// Endings of the units that processes run in (systemd.unit(5)). Slices only group others.
const UNITS: [&str; 2] = [".service", ".scope"];

/// Length of a container's id in hexadecimal, with every engine.
const ID: usize = 64;

/// The innermost systemd unit in a path: of `/user.slice/user-1000.slice/user@1000.service/app.slice/ide.service` the user's own
/// `ide.service`. A container's scope is none, because it says nothing that the container's id does not.
pub(crate) fn unit(cgroup: &str) -> Option<&str> {
    let is_unit = |part: &&str| UNITS.iter().any(|ending| part.len() > ending.len() && part.ends_with(ending));
    cgroup.rsplit('/').filter(|part| container_in(part).is_none()).find(is_unit)
}

/// The innermost container's id in a path. The forms: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
/// `libpod-ID.scope` where systemd manages the groups, and `docker/ID`, `kubepods/…/ID`, `libpod_parent/libpod-ID` where it does not.
pub(crate) fn container(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find_map(container_in)
}

fn container_in(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (engine, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    // Next to its container CRI-O and Podman keep a group for the monitor, which calls nobody.
    let is_id = id.len() == ID && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_id && !engine.ends_with("conmon")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn services_and_scopes_of_system_and_user_are_units() {
        assert_eq!(unit("/system.slice/app.service"), Some("app.service"));
        assert_eq!(unit("/system.slice/system-worker.slice/worker@7.service/child"), Some("worker@7.service"));
        assert_eq!(
            unit("/user.slice/user-1000.slice/user@1000.service/app.slice/app-code-77.scope"),
            Some("app-code-77.scope")
        );
        assert_eq!(unit("/user.slice/user-1000.slice/session-3.scope"), Some("session-3.scope"));
        for none in ["/", "", "/user.slice", "/.service", "/tollgate-exec-7", "/service"] {
            assert_eq!(unit(none), None, "{none}");
        }
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
    fn a_containers_scope_is_no_unit_and_a_unit_inside_a_container_is() {
        assert_eq!(unit(&format!("/system.slice/docker-{SOME}.scope")), None);
        assert_eq!(unit(&format!("/docker/{SOME}/system.slice/nginx.service")), Some("nginx.service"));
    }
}
