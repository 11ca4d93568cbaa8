//! Which of a device's messages were offered, acknowledged and received: one bit each.

use std::collections::VecDeque;

/// Messages of one device that are told apart; later ones fail the check rather than escape it.
const MESSAGES_MAX: u32 = 2_000_000;
/// Offers kept with their time, for the ones still under way at the end.
const RECENT_MAX: usize = 32;
/// Acknowledgements kept with their time, for arrivals that are heard of late.
const ACKNOWLEDGED_MAX: usize = 4;

#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Sets a bit; gives whether it was set before.
    fn set(&mut self, position: u32) -> bool {
        let (word, bit) = ((position / 64) as usize, 1u64 << (position % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word] & bit != 0;
        self.0[word] |= bit;
        before
    }

    fn has(&self, position: u32) -> bool {
        let word = self.0.get((position / 64) as usize).copied().unwrap_or(0);
        word & (1u64 << (position % 64)) != 0
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Positions set here and not in `other`.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let words = self.0.iter().enumerate();
        words.flat_map(move |(index, word)| {
            let left = word & !other.0.get(index).copied().unwrap_or(0);
            let base = u32::try_from(index * 64).unwrap_or(u32::MAX);
            (0..64)
                .filter(move |bit| left & (1u64 << bit) != 0)
                .map(move |bit| base + bit)
        })
    }
}

/// A device's messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    offered: Bits,
    acknowledged: Bits,
    received: Bits,
    repeated: Bits,
    recent: VecDeque<(u32, i64)>,
    recently_acknowledged: VecDeque<(u32, i64)>,
    /// Messages beyond what can be told apart.
    pub(super) beyond: u64,
    /// Arrivals of messages that had to come again.
    pub(super) resent: u64,
}

impl Messages {
    pub(super) fn offer(&mut self, sequence: u32, at: i64) {
        if self.in_bounds(sequence) {
            self.offered.set(sequence);
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((sequence, at));
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: u32, at: i64) {
        if self.in_bounds(sequence) {
            self.acknowledged.set(sequence);
            if self.recently_acknowledged.len() == ACKNOWLEDGED_MAX {
                self.recently_acknowledged.pop_front();
            }
            self.recently_acknowledged.push_back((sequence, at));
        }
    }

    /// Enters a message that arrived at `at`. While things are made to go wrong its
    /// acknowledgement may be lost, and then it has to come again; `troubled` is how far apart
    /// reports of one moment may then be.
    pub(super) fn receive(&mut self, sequence: u32, at: i64, troubled: Option<i64>) {
        if self.in_bounds(sequence) && self.received.set(sequence) {
            if troubled.is_some_and(|grace| !self.was_acknowledged(sequence, at - grace)) {
                self.resent += 1;
            } else {
                self.repeated.set(sequence);
            }
        }
    }

    /// Whether a message was acknowledged before `at`. What is told of its arrival may be heard
    /// only after the acknowledgement that followed from it.
    fn was_acknowledged(&self, sequence: u32, at: i64) -> bool {
        let since = |&(known, when): &(u32, i64)| known == sequence && when >= at;
        self.acknowledged.has(sequence) && !self.recently_acknowledged.iter().any(since)
    }

    fn in_bounds(&mut self, sequence: u32) -> bool {
        let within = sequence < MESSAGES_MAX;
        self.beyond += u64::from(!within);
        within
    }

    /// Offered, acknowledged and received, each message once.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (
            self.offered.count(),
            self.acknowledged.count(),
            self.received.count(),
        )
    }

    /// Messages that arrived more than once.
    pub(super) fn duplicated(&self) -> u64 {
        self.repeated.count()
    }

    /// Messages acknowledged that never arrived.
    pub(super) fn lost(&self) -> Vec<u32> {
        self.acknowledged.without(&self.received).collect()
    }

    /// Messages offered before `settled` and never acknowledged.
    pub(super) fn unacknowledged(&self, settled: i64) -> Vec<u32> {
        let under_way = |sequence: u32| {
            self.recent
                .iter()
                .any(|&(recent, at)| recent == sequence && at >= settled)
        };
        self.offered
            .without(&self.acknowledged)
            .filter(|&number| !under_way(number))
            .collect()
    }

    /// The first message that arrived more than once.
    pub(super) fn first_duplicate(&self) -> Option<u32> {
        self.repeated
            .without(&Bits::default())
            .next()
            .filter(|&number| self.repeated.has(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_told_apart() {
        let mut messages = Messages::default();
        for sequence in [0, 1, 64, 65] {
            messages.offer(sequence, i64::from(sequence));
        }
        messages.acknowledge(0, 2);
        messages.acknowledge(64, 2);
        messages.receive(0, 1, Some(0));
        messages.receive(0, 3, Some(0));
        messages.receive(1, 1, None);
        assert_eq!(messages.totals(), (4, 2, 2));
        assert_eq!(messages.lost(), [64]);
        assert_eq!(messages.duplicated(), 1);
        assert_eq!(messages.first_duplicate(), Some(0));
        assert_eq!(messages.unacknowledged(1_000), [1, 65]);
        assert_eq!(
            messages.unacknowledged(65),
            [1],
            "65 was offered at the very end"
        );
    }

    #[test]
    fn a_message_without_its_acknowledgement_may_come_again_while_things_go_wrong() {
        let mut messages = Messages::default();
        messages.offer(0, 0);
        messages.receive(0, 1, Some(0));
        messages.receive(0, 2, Some(0));
        assert_eq!((messages.resent, messages.duplicated()), (1, 0));
        messages.receive(0, 3, None);
        assert_eq!((messages.resent, messages.duplicated()), (1, 1));
    }

    #[test]
    fn an_arrival_may_be_heard_of_after_the_acknowledgement_that_it_led_to() {
        let mut messages = Messages::default();
        for sequence in 0..3 {
            messages.offer(sequence, 0);
            messages.receive(sequence, 1, Some(100));
        }
        messages.acknowledge(0, 500);
        messages.receive(0, 499, Some(100));
        messages.acknowledge(1, 500);
        messages.receive(1, 590, Some(100));
        assert_eq!((messages.resent, messages.duplicated()), (2, 0));
        messages.acknowledge(2, 500);
        messages.receive(2, 601, Some(100));
        assert_eq!((messages.resent, messages.duplicated()), (2, 1));
    }

    #[test]
    fn messages_out_of_bounds_are_counted() {
        let mut messages = Messages::default();
        messages.offer(MESSAGES_MAX, 0);
        assert_eq!((messages.beyond, messages.totals()), (1, (0, 0, 0)));
    }
}
