//! Notices panics on this thread, those in spawned tasks included.
//!
//! A test's runtime has one thread, so what its tasks do happens here.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Forgets what was seen and goes on watching.
pub(crate) fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = SEEN.try_with(|seen| seen.borrow_mut().push(info.to_string()));
            previous(info);
        }));
    });
    SEEN.with(|seen| seen.borrow_mut().clear());
}

/// The panics since [`watch`].
pub(crate) fn seen() -> Vec<String> {
    SEEN.with(|seen| seen.borrow().clone())
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_does_not_go_unseen() {
    watch();
    let task = tokio::spawn(async { panic!("on purpose") });
    assert!(task.await.is_err());
    assert_eq!(seen().len(), 1);
    assert!(seen()[0].contains("on purpose"));
}
