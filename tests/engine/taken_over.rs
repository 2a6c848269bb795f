//! An instance that docklet 0.1 made: its container ran as root, its secrets were mounted from the host, and root owns
//! files in its volumes. `start` takes it over, and nothing of it is lost.

use serde_json::json as object;

use crate::support::*;

#[test]
#[ignore = "needs an engine: tests/run brings one"]
fn an_instance_of_the_version_before_is_taken_over() {
    let world = World::new();
    world.setup();
    let session = world.http_post("/session", Some(&world.password()), &object!({"title": "kept"}));
    assert_eq!(session.0, 200, "{}", session.1);
    docker(&[
        "exec",
        &world.container(),
        "sh",
        "-c",
        "mkdir -m 0700 /workspace/private && echo mine >/workspace/private/file",
    ]);
    let image = world.image();
    world.ok(&["stop"]);
    as_root(&world, "chown -R 0:0 /workspace /home/opencode/.opencode /home/opencode/.config");
    docker(&["rm", &world.container()]);
    docker(&["volume", "rm", &format!("{}-secrets", world.container())]);

    // As docklet 0.1 made it.
    let name = world.container();
    let mut args = vec!["create".to_owned(), "--name".into(), name.clone(), "--network".into(), name.clone()];
    for label in ["managed=true", "appliance=opencode-cloud", "version=0.1.0", "spec=0123456789abcdef"] {
        args.extend(["--label".into(), format!("docklet.{label}")]);
    }
    args.extend(["--label".into(), format!("docklet.instance={}", world.name)]);
    args.extend(["--user".into(), "0:0".into(), "--publish".into(), format!("127.0.0.1:{}:3000", world.port)]);
    let places = ["/home/opencode/.opencode", "/workspace", "/home/opencode/.config"];
    for (volume, place) in world.volumes().iter().zip(places) {
        args.extend(["--mount".into(), format!("type=volume,source={volume},target={place}")]);
    }
    let secrets = world.home.join("config").join(&world.name).join("secrets");
    args.extend(["--mount".into(), format!("type=bind,source={},target=/run/secrets,readonly", secrets.display())]);
    args.push(image);
    docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
    docker(&["start", &name]);
    assert_eq!(docker(&["exec", &name, "id", "-u"]), "0", "the old one ran as root");
    wait_until(std::time::Duration::from_secs(20), "the old container's page", || {
        world.http_get("/global/health", Some(&world.password())).0 == 200
    });

    world.ok(&["start"]);
    world.assert_whole("after it was taken over");
    let inspect = world.inspect().unwrap();
    assert_eq!(inspect["Config"]["User"], "1000:1000");
    assert!(!inspect["Mounts"].to_string().contains("\"bind\""), "{}", inspect["Mounts"]);
    let look = "cat /workspace/private/file; find /workspace /home/opencode/.opencode ! -uid 1000; id -u";
    assert_eq!(docker(&["exec", &name, "sh", "-c", look]), "mine\n1000");
    let sessions = world.http_get("/session", Some(&world.password())).1;
    assert!(sessions.contains("kept"), "{sessions}");
    assert_eq!(json(&world.run(&["start", "--json"]))["changed"], false, "once");
}
