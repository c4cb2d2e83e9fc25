use super::*;
use std::sync::atomic::AtomicBool;

/// Locks whose holders are taken for dead within a moment.
fn hasty() -> Locks {
    let (every, patience) = (Duration::from_millis(20), Duration::from_millis(400));
    Locks { every, patience, ..Locks::default() }
}

fn ours(taken: Taken) -> (Lock, Option<String>) {
    match taken {
        Taken::Ours(lock, from) => (lock, from),
        Taken::Held(holder) => panic!("held by {holder:?}"),
    }
}

/// A lock that `holder` made and did not give back.
fn left_by(dir: &Path, number: u64, holder: &Holder) {
    fs::create_dir(place(dir, number)).unwrap();
    fs::write(place(dir, number).join(HOLDER), toml::to_string(holder).unwrap()).unwrap();
    fs::write(place(dir, number).join(BEAT), "7").unwrap();
}

fn elsewhere() -> Holder {
    let of = |text: &str| text.to_owned();
    Holder { host: of("node7"), boot: of("b"), process: 12, ..Holder::default() }
}

#[test]
fn a_lock_is_held_until_it_is_dropped_and_gone_once_it_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let locks = Locks::default();
    assert_eq!(locks.standing(dir.path()).unwrap(), Standing::Free(None));
    let (first, _) = ours(locks.take(dir.path()).unwrap());
    let Taken::Held(Some(holder)) = Locks::default().take(dir.path()).unwrap() else {
        panic!("taken twice");
    };
    assert_eq!(holder.process, std::process::id());
    assert!(first.is_ours().unwrap());
    drop(first);
    let (second, from) = ours(locks.take(dir.path()).unwrap());
    assert_eq!((second.number, from), (2, None));
    second.clear();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn of_many_threads_one_at_a_time_has_the_lock_whoever_dies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Holder { process: u32::MAX, ..Holder::this_process() };
    let (inside, held) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let locks = Locks::default();
                while held.load(Ordering::SeqCst) < 200 {
                    let Taken::Ours(lock, _) = locks.take(dir.path()).unwrap() else {
                        continue;
                    };
                    assert!(!inside.swap(true, Ordering::SeqCst), "two at once");
                    std::thread::yield_now();
                    assert!(lock.is_ours().unwrap());
                    let count = held.fetch_add(1, Ordering::SeqCst);
                    if count % 3 == 0 {
                        // It dies: what is left is the lock of a process that has ended.
                        let text = toml::to_string(&dead).unwrap();
                        let holder = place(dir.path(), lock.number).join(HOLDER);
                        inside.store(false, Ordering::SeqCst);
                        kd_base::atomic::write(&holder, text.as_bytes()).unwrap();
                        std::mem::forget(lock);
                    } else {
                        inside.store(false, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(held.load(Ordering::SeqCst) >= 200);
}

#[test]
fn one_that_was_about_to_take_over_and_was_overtaken_steps_back() {
    let dir = tempfile::tempdir().unwrap();
    let dead = Holder { process: u32::MAX, ..Holder::this_process() };
    left_by(dir.path(), 1, &dead);
    // Another took over from the dead one, and a third from that, before we made ours.
    let (third, _) = {
        drop(ours(Locks::default().take(dir.path()).unwrap()));
        ours(Locks::default().take(dir.path()).unwrap())
    };
    assert!(!make(dir.path(), 2).unwrap(), "made twice");
    assert!(!make(dir.path(), third.number).unwrap(), "made twice");
    assert!(matches!(Locks::default().take(dir.path()).unwrap(), Taken::Held(Some(_))));
    assert!(third.is_ours().unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn the_lock_of_a_dead_process_and_of_an_earlier_boot_is_taken_over_and_its_holder_named() {
    let here = Holder::this_process();
    let dir = tempfile::tempdir().unwrap();
    left_by(dir.path(), 1, &Holder { process: u32::MAX, ..here.clone() });
    let (lock, from) = ours(Locks::default().take(dir.path()).unwrap());
    let from = from.expect("a name");
    assert!(from.contains("process 4294967295 on ") && from.ends_with("has ended"), "{from}");
    drop(lock);
    // A machine without an id of its own cannot know its earlier boots.
    if !here.machine.is_empty() {
        left_by(dir.path(), 9, &Holder { boot: "earlier".into(), ..here });
        let (_, from) = ours(Locks::default().take(dir.path()).unwrap());
        assert!(from.expect("a name").ends_with("before this machine was started again"));
    }
}

#[test]
fn the_lock_of_another_machine_is_taken_over_when_its_sign_of_life_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    left_by(dir.path(), 3, &elsewhere());
    let locks = hasty();
    let beats = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for count in 0.. {
                if !beats.load(Ordering::SeqCst) {
                    break;
                }
                fs::write(place(dir.path(), 3).join(BEAT), format!("beat {count}")).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // Longer than its patience, and the holder lives.
        let start = Instant::now();
        while start.elapsed() < 2 * locks.patience {
            let Taken::Held(Some(holder)) = locks.take(dir.path()).unwrap() else {
                panic!("taken from the living");
            };
            assert_eq!(holder.name(), "process 12 on node7");
            std::thread::sleep(Duration::from_millis(10));
        }
        beats.store(false, Ordering::SeqCst);
    });
    let start = Instant::now();
    let from = loop {
        assert!(start.elapsed() < Duration::from_secs(60), "never taken over");
        if let Taken::Ours(_, from) = locks.take(dir.path()).unwrap() {
            break from.expect("a name");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(from.starts_with("process 12 on node7, of which nothing was heard for "), "{from}");
}

#[test]
fn a_holder_beats_and_finds_out_that_it_was_taken_for_dead() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, _) = ours(hasty().take(dir.path()).unwrap());
    let beat = || fs::read_to_string(place(dir.path(), 1).join(BEAT)).unwrap();
    let start = Instant::now();
    while ["0", ""].contains(&beat().as_str()) {
        assert!(start.elapsed() < Duration::from_secs(60), "no beat");
        std::thread::sleep(Duration::from_millis(5));
    }
    left_by(dir.path(), 2, &elsewhere());
    assert!(!lock.is_ours().unwrap());
}

#[test]
fn a_lock_of_which_a_crash_left_nothing_legible_is_one_that_cannot_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(place(dir.path(), 1)).unwrap();
    fs::write(place(dir.path(), 1).join(HOLDER), "\0\0\0").unwrap();
    let locks = hasty();
    assert!(matches!(locks.take(dir.path()).unwrap(), Taken::Held(_)));
    let start = Instant::now();
    while matches!(locks.take(dir.path()).unwrap(), Taken::Held(_)) {
        assert!(start.elapsed() < Duration::from_secs(60), "never taken over");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_folder_that_a_process_of_an_earlier_version_holds_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join(EARLIER)).unwrap();
    file.lock().unwrap();
    assert!(matches!(Locks::default().take(dir.path()).unwrap(), Taken::Held(None)));
    assert_eq!(Locks::default().standing(dir.path()).unwrap(), Standing::Held(None));
    file.unlock().unwrap();
    ours(Locks::default().take(dir.path()).unwrap());
}
