//! The checks of the harness themselves see what they are to see.

use harness::TestStack;
use harness::volume::noise;

#[tokio::test]
async fn what_is_left_behind_is_found() {
    let stack = TestStack::start().await;
    let id = stack.managed_volume("v.raw", &noise(1, 1_000_000)).await;
    let backup = stack.api().back_up(id).await;
    stack.assert_nothing_left_behind().await;

    let root = stack.target().root().to_owned();
    let lost = root.join(&stack.target().objects_of(backup.id)[0]);
    let name = lost.file_name().expect("a name").to_string_lossy();
    std::fs::rename(&lost, lost.with_file_name(name.replace("-00001", "-00009")))
        .expect("an object can be renamed");
    let scratch = root.join(format!(".emberkeep-{}-a1", backup.id));
    std::fs::create_dir(&scratch).expect("a directory can be made");
    std::fs::write(scratch.join("part"), b"").expect("a file can be made");
    std::fs::write(stack.volumes().join("bk-1-a1"), b"").expect("a file can be made");
    std::fs::write(stack.volumes().join("volume-gone"), b"").expect("a file can be made");
    stack.worker(1).kill();
    let key = "backup.nova.main";
    stack.broker().publish("bk.v1.jobs", key, b"{}").await;

    harness::until("the message to be counted", async || {
        let found = stack.leftovers().await;
        found.iter().any(|found| found.contains(key)).then_some(())
    })
    .await;
    let found = stack.leftovers().await.join("\n");
    for wanted in [
        "-00001",
        "-00009",
        "-a1/part",
        "bk-1-a1",
        "volume-gone",
        key,
    ] {
        assert!(found.contains(wanted), "{wanted} is not in:\n{found}");
    }
}
