//! Puts messages of any lengths on lanes, and a next one where one ends.
#![expect(
    unsafe_code,
    reason = "the call of a kernel, whose instructions the processor has to have"
)]

use super::kernels::Step;

/// A hash function of the MD4 family: a state of `W` words, steps of 64 bytes, a length at the end.
pub(super) struct Function<const W: usize> {
    /// The state before the first step.
    pub(super) start: [u32; W],
    /// Takes one message's state on over its next steps.
    pub(super) one: fn(&mut [u32; W], &[Step]),
    /// How the count of bits is written behind a message.
    pub(super) bit_count: fn(u64) -> [u8; 8],
}

/// Takes the states of `N` lanes on over so many steps of each lane's bytes. Unsafe to call where its instructions are not.
type Kernel<const W: usize, const N: usize> =
    unsafe fn(state: &mut [[u32; N]; W], bytes: &[&[Step]; N], steps: usize);

/// `N` lanes side by side.
pub(super) struct Lanes<const W: usize, const N: usize> {
    /// All of them.
    pub(super) all: Kernel<W, N>,
    /// With fewer messages left than this, one after the other is faster.
    pub(super) at_least: usize,
}

/// A message on its way.
struct Message<'m> {
    index: usize,
    /// Steps of its own bytes that are left.
    body: &'m [Step],
    /// Its last bytes and the padding.
    tail: [Step; 2],
    /// Which part of `tail` is left.
    tail_left: std::ops::Range<usize>,
}

impl<'m> Message<'m> {
    fn new<const W: usize>(function: &Function<W>, index: usize, bytes: &'m [u8]) -> Self {
        let (body, rest) = bytes.as_chunks();
        let mut tail = [[0; 64]; 2];
        let flat = tail.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()] = 0x80;
        let steps = if rest.len() < 56 { 1 } else { 2 };
        let count = (function.bit_count)(bytes.len() as u64 * 8);
        flat[64 * steps - 8..64 * steps].copy_from_slice(&count);
        Self {
            index,
            body,
            tail,
            tail_left: 0..steps,
        }
    }

    /// The steps that come next without a break.
    fn next(&self) -> &[Step] {
        if self.body.is_empty() {
            &self.tail[self.tail_left.clone()]
        } else {
            self.body
        }
    }

    /// Leaves so many of the next steps behind.
    fn advance(&mut self, steps: usize) {
        if self.body.is_empty() {
            self.tail_left.start += steps;
        } else {
            self.body = &self.body[steps..];
        }
    }

    fn is_over(&self) -> bool {
        self.body.is_empty() && self.tail_left.is_empty()
    }
}

/// Digests messages on lanes. `done` gets the place of each in the order they came, and its last state.
pub(super) fn run<'m, const W: usize, const N: usize>(
    function: &Function<W>,
    lanes: &Lanes<W, N>,
    messages: impl Iterator<Item = &'m [u8]>,
    mut done: impl FnMut(usize, [u32; W]),
) {
    let mut messages = messages.enumerate().fuse();
    let mut lane: [Option<Message<'m>>; N] = [const { None }; N];
    let mut state = [[0; N]; W];
    loop {
        let mut taken = 0;
        let mut steps = usize::MAX;
        for (n, lane) in lane.iter_mut().enumerate() {
            if lane.is_none()
                && let Some((index, bytes)) = messages.next()
            {
                *lane = Some(Message::new(function, index, bytes));
                for (words, start) in state.iter_mut().zip(function.start) {
                    words[n] = start;
                }
            }
            if let Some(message) = lane {
                taken += 1;
                steps = steps.min(message.next().len());
            }
        }
        if taken == 0 {
            return;
        }
        if taken < lanes.at_least.min(N) {
            break;
        }
        // A free lane goes along over another's bytes; nobody looks at what comes out.
        let some = lane.iter().flatten().next().map_or(&[][..], Message::next);
        let bytes = lane
            .each_ref()
            .map(|lane| lane.as_ref().map_or(some, Message::next));
        // SAFETY: a kernel wants nothing but its instructions, and a `Path` is made only where the processor has them.
        unsafe { (lanes.all)(&mut state, &bytes, steps) };
        for (n, lane) in lane.iter_mut().enumerate() {
            if let Some(message) = lane {
                message.advance(steps);
                if message.is_over() {
                    done(message.index, state.each_ref().map(|words| words[n]));
                    *lane = None;
                }
            }
        }
    }
    for (n, mut message) in (0..).zip(lane).filter_map(|(n, lane)| Some((n, lane?))) {
        let mut state = state.each_ref().map(|words| words[n]);
        while !message.is_over() {
            let steps = message.next();
            (function.one)(&mut state, steps);
            let steps = steps.len();
            message.advance(steps);
        }
        done(message.index, state);
    }
}
