//! docklet from another Rust program: only the public library is used, never the binary. The docker command looks at what
//! came of it.

use std::path::Path;

use docklet::{
    Code, ImageFrom, Instance, InstanceName, Options, Rollback, Setup, Start, StopTimeout, Update, report::State,
};

use crate::support::*;

fn open(world: &World, name: &str, folder: &Path) -> Instance {
    let name: InstanceName = name.parse().unwrap();
    assert_eq!(world.container(), format!("{}-{name}", docklet::APPLIANCE));
    let options = Options { folder: Some(folder.to_owned()), host: Some(engine_host()), ..Options::default() };
    Instance::open(name, options).unwrap()
}

fn options(world: &World) -> Setup {
    Setup { port: Some(world.port), image: Some(ImageFrom::Pull(world.image())), ..Setup::default() }
}

fn state(world: &World) -> String {
    world.inspect().map_or_else(String::new, |found| found["State"]["Status"].as_str().unwrap().to_owned())
}

#[tokio::test]
#[ignore = "needs an engine: tests/run brings one"]
async fn every_operation_of_a_life() {
    let world = World::new();
    let instance = open(&world, &world.name, &world.home);
    assert!(instance.status().await.unwrap().is_none(), "there is none yet");
    assert_eq!(instance.start(&Start::default()).await.unwrap_err().code(), Code::NotFound);

    let created = instance.create(&options(&world)).await.unwrap();
    assert_eq!(state(&world), "created");
    let id = world.inspect().unwrap()["Id"].as_str().unwrap().to_owned();
    assert_eq!((created.container_id, created.running), (Some(id.clone()), false));
    let again = instance.create(&options(&world)).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");

    let started = instance.start(&Start::default()).await.unwrap();
    assert!(started.container.running && started.container.changed);
    assert_eq!(started.container.container_id, id);
    let password = instance.password().unwrap();
    assert_eq!(world.http_get("/global/health", Some(password.reveal())).0, 200);
    let status = instance.status().await.unwrap().expect("it is there");
    assert_eq!(status.state, State::Running);
    let list = instance.list().await.unwrap().instances;
    assert!(list.iter().any(|entry| entry.id == id && entry.port == Some(world.port)), "it is listed");

    let stopped = instance.stop(StopTimeout::default()).await.unwrap();
    assert!(
        stopped.graceful_shutdown == Some(true) && stopped.killed == Some(false),
        "it ended by itself after SIGTERM"
    );
    assert_eq!(state(&world), "exited");
    assert_eq!(instance.status().await.unwrap().expect("it is there").state, State::Stopped);
    let (_, url) = instance.restart(StopTimeout::default()).await.unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{}/", world.port));
    assert_eq!(state(&world), "running");

    instance.remove().await.unwrap();
    assert_eq!(state(&world), "", "the container is gone");
    assert_eq!(instance.remove().await.unwrap_err().code(), Code::NotFound);
    let volumes = world.volumes().to_vec();
    assert!(volumes.iter().all(|v| docker_try(&["volume", "inspect", v]).status.success()), "the data stays");

    // Whether there was one or not, it runs afterwards, and the report has its id.
    for existed in [false, true] {
        let report = instance.setup(&options(&world)).await.unwrap();
        assert_eq!(report.changed, !existed);
        assert_eq!(report.container_id.as_deref(), world.inspect().unwrap()["Id"].as_str());
        assert_eq!(world.http_get("/global/health", Some(password.reveal())).0, 200);
    }
    let used = instance.remove_volumes().await.unwrap_err();
    assert_ne!(used.code(), Code::Bug, "{used}");
    instance.remove().await.unwrap();
    assert_eq!(instance.remove_volumes().await.unwrap(), volumes);
    assert_eq!(instance.ensure_volumes().await.unwrap(), volumes);
    assert_eq!(instance.ensure_volumes().await.unwrap(), volumes, "a second time creates nothing");
}

#[tokio::test]
#[ignore = "needs an engine: tests/run brings one"]
async fn a_strangers_container_is_told_also_where_nothing_is_set_up() {
    let world = World::new();
    docker(&["create", "--name", &world.container(), &world.image()]);
    let instance = open(&world, &world.name, &world.home);
    let (grace, to) = (StopTimeout::default(), Update::default());
    let ends = [
        instance.start(&Start::default()).await.map(drop),
        instance.stop(grace).await.map(drop),
        instance.restart(grace).await.map(drop),
        instance.remove().await.map(drop),
        instance.update(&to).await.map(drop),
        instance.check_for_update().await.map(drop),
        instance.rollback(&Rollback::default()).await.map(drop),
        instance.status().await.map(drop),
    ];
    let codes = ends.map(|end| end.unwrap_err().code());
    assert_eq!(codes, [Code::ForeignObject; 8]);
}

#[tokio::test]
#[ignore = "needs an engine: tests/run brings one"]
async fn an_engine_that_is_not_there_has_its_code() {
    let world = World::new();
    let options = Options {
        folder: Some(world.home.clone()),
        host: Some(format!("unix://{}/no.sock", world.folder().display())),
        ..Options::default()
    };
    let instance = Instance::open(InstanceName::default(), options).unwrap();
    let error = instance.list().await.unwrap_err();
    assert_eq!(error.code(), Code::EngineNotRunning, "{error}");
    assert!(error.hint().is_some());
}
