//! Servers and processes that die, are cut off, are slow, run full or have a clock that jumps, under a
//! mixed load of several processes: nothing that was acknowledged is lost or doubled, and each pause is
//! printed. CI plays each once; `cargo xtask soak mongo` as often as is asked.

mod child;
mod play;

use std::{sync::atomic::Ordering, time::Duration};

use ems_testkit::mongo::{Apart, ReplicaSet};

use self::play::{Jobs, Scene, calm, play};
use super::{Home, run, run_on};

/// A disk on which a member's journal and little else fits.
const SMALL_DISK: u64 = 400 << 20;

#[test]
fn whatever_happens_to_servers_nothing_acknowledged_is_lost_or_doubled() {
    run(async |home: &Home| {
        let primary = ("the primary is killed", Jobs::Ours);
        play(home, primary, async |scene| {
            let set = &scene.home.set;
            let primary = set.primary().await;
            set.kill(primary);
            set.wait_for_primary().await;
            calm().await;
            set.restart(primary).await;
        })
        .await;
        let down = ("the primary steps down", Jobs::Ours);
        play(home, down, async |scene| scene.home.set.step_down().await).await;
        let still = ("both secondaries stand still for a while", Jobs::Ours);
        play(home, still, async |scene| {
            let set = &scene.home.set;
            let secondaries = secondaries(set).await;
            secondaries.iter().for_each(|member| set.pause(*member));
            calm().await;
            secondaries.iter().for_each(|member| set.resume(*member));
            set.wait_for_primary().await;
        })
        .await;
    });
}

#[test]
fn whatever_happens_to_processes_nothing_acknowledged_is_lost_or_doubled() {
    run(async |home: &Home| {
        let clock = ("the clock is an hour ahead, then behind", Jobs::Ours);
        play(home, clock, async |scene| {
            for hours in [1, -1, 0] {
                scene.clock.0.store(hours * 3_600_000_000, Ordering::SeqCst);
                calm().await;
            }
        })
        .await;
        let commit = ("a process is killed in the middle of a commit", Jobs::Ours);
        play(home, commit, async |scene| killed(scene, 20)).await;
        let job = ("a process is killed in the middle of a job", Jobs::Theirs);
        play(home, job, async |scene| killed(scene, 60)).await;
        let away = (
            "a process stands still until what it knows is cleared away",
            Jobs::Ours,
        );
        play(home, away, async |scene| {
            let child = scene.child();
            child.works(20);
            child.signal("-STOP");
            for _ in 0..6 {
                calm().await;
            }
            child.signal("-CONT");
            let before = child.acknowledged.load(Ordering::SeqCst);
            child.works(before + 20);
            let heard = child.kill();
            scene.history.writes.lock().extend(heard);
        })
        .await;
    });
}

#[test]
fn whatever_happens_to_the_network_nothing_acknowledged_is_lost_or_doubled() {
    run_on(
        ReplicaSet::start_apart(Apart::default()),
        async |home: &Home| {
            let cut = ("one member is cut off", Jobs::Ours);
            play(home, cut, async |scene| {
                let set = &scene.home.set;
                let member = secondaries(set).await[0];
                set.cut(member);
                calm().await;
                calm().await;
                set.heal(member);
                set.wait_for_primary().await;
            })
            .await;
            let minority = (
                "the primary is in a minority, and can be reached",
                Jobs::Ours,
            );
            play(home, minority, async |scene| {
                let set = &scene.home.set;
                let primary = set.primary().await;
                set.cut_with(&[primary]);
                for _ in 0..4 {
                    calm().await;
                }
                set.heal_all();
                set.wait_for_primary().await;
            })
            .await;
            let slow = ("both secondaries are slow", Jobs::Ours);
            play(home, slow, async |scene| {
                let set = &scene.home.set;
                let secondaries = secondaries(set).await;
                secondaries.iter().for_each(|member| set.slow(*member, 200));
                calm().await;
                calm().await;
                secondaries.iter().for_each(|member| set.unslow(*member));
                set.wait_for_primary().await;
            })
            .await;
        },
    );
}

#[test]
fn a_member_whose_disk_is_full_loses_nothing_acknowledged() {
    let small = Apart {
        small_disk: Some((2, SMALL_DISK)),
    };
    run_on(ReplicaSet::start_apart(small), async |home: &Home| {
        let full = ("the disk of a member is full", Jobs::Ours);
        play(home, full, async |scene| {
            let set = &scene.home.set;
            set.fill_disk(2);
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while !set.has_ended(2) && std::time::Instant::now() < until {
                calm().await;
            }
            set.free_disk(2);
            set.restart(2).await;
            set.wait_for_primary().await;
        })
        .await;
    });
}

async fn secondaries(set: &ReplicaSet) -> Vec<usize> {
    let primary = set.primary().await;
    (0..3).filter(|member| *member != primary).collect()
}

/// Another process writes so many batches, and is killed.
fn killed(scene: &Scene<'_>, writes: i64) {
    let child = scene.child();
    child.works(writes);
    let heard = child.kill();
    scene.history.writes.lock().extend(heard);
}
