//! Who gets a sender's room, as a pure function of what is held and what is free.
//!
//! A dynamic threshold, as switches bound the queues that share their memory: who holds more than half of what is still free
//! gets no more. However many organisations hang at once, each takes a part of what the ones before it left, so that
//! something is left for the next one; and as what hangs ends, the larger shares shrink first.

/// What is known when an endpoint asks for places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Places that are free in the sender.
    pub free: usize,
    /// Of these, what is kept from what is known to be slow.
    pub reserved: usize,
    /// Whether the endpoint is known to be slow.
    pub slow: bool,
    /// Whether the room is divided at all; otherwise only the two bounds below count.
    pub divided: bool,
    /// Held by the organisation's endpoints.
    pub organisation: usize,
    /// The most that these may hold.
    pub most_of_organisation: usize,
    /// Held by the endpoint.
    pub endpoint: usize,
    /// The most that it may hold.
    pub most_of_endpoint: usize,
}

impl Ask {
    /// How many places the endpoint gets.
    pub(crate) fn granted(self) -> usize {
        let mut ask = self;
        let mut granted = 0;
        // Each place changes what the next one is held against; there are a few dozen at most.
        while ask.one_more() {
            ask.free -= 1;
            ask.organisation = ask.organisation.saturating_add(1);
            ask.endpoint = ask.endpoint.saturating_add(1);
            granted += 1;
        }
        granted
    }

    fn one_more(&self) -> bool {
        let free = if self.slow { self.free.saturating_sub(self.reserved) } else { self.free };
        if !self.divided {
            return free > 0 && self.organisation < self.most_of_organisation && self.endpoint < self.most_of_endpoint;
        }
        let of_organisation = self.most_of_organisation.min(free / 2);
        // The same inside: an endpoint holds no more than its organisation has left to give, so that another one of it is
        // heard as well. Its first place it gets while there is any.
        let left = of_organisation.saturating_sub(self.organisation);
        left > 0 && self.endpoint < self.most_of_endpoint.min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: usize = 512;
    const SHARE: usize = 128;

    /// A sender's room, and what organisations' endpoints hold of it.
    struct Room {
        held: Vec<Vec<usize>>,
    }

    impl Room {
        fn new(organisations: usize, endpoints: usize) -> Self {
            Self { held: vec![vec![0; endpoints]; organisations] }
        }

        fn free(&self) -> usize {
            ROOM - self.held.iter().flatten().sum::<usize>()
        }

        fn ask(&self, organisation: usize, endpoint: usize) -> Ask {
            Ask {
                free: self.free(),
                reserved: 128,
                slow: false,
                divided: true,
                organisation: self.held[organisation].iter().sum(),
                most_of_organisation: SHARE,
                endpoint: self.held[organisation][endpoint],
                most_of_endpoint: 32,
            }
        }

        fn take(&mut self, organisation: usize, endpoint: usize) -> usize {
            let granted = self.ask(organisation, endpoint).granted();
            self.held[organisation][endpoint] += granted;
            granted
        }
    }

    proptest! {
        /// Nothing that was taken is ever given back: everybody hangs.
        #[test]
        fn however_many_hang_something_is_free_and_who_holds_nothing_gets_one(
            organisations in 1..400_usize,
            asks in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize), 1..600),
        ) {
            let mut room = Room::new(organisations, 6);
            for (organisation, endpoint) in asks {
                let organisation = organisation.index(organisations);
                let before = room.free();
                let fresh = room.held[organisation].iter().sum::<usize>() == 0;
                let granted = room.take(organisation, endpoint);
                prop_assert!(room.free() >= 1);
                let held: usize = room.held[organisation].iter().sum();
                prop_assert!(held <= SHARE && room.held[organisation][endpoint] <= 32);
                // After its own last place, an organisation never holds more than half of what was free before it.
                prop_assert!(granted == 0 || held <= room.free().div_ceil(2));
                if fresh && before >= 2 {
                    prop_assert!(granted >= 1, "nothing of {before}");
                }
            }
        }

        /// What is known to be slow leaves the reserve whole, whoever it belongs to.
        #[test]
        fn what_is_slow_never_gets_the_reserve(
            free in 0..ROOM, reserved in 0..ROOM, organisation in 0..200_usize, endpoint in 0..40_usize, divided: bool,
        ) {
            let ask = Ask {
                free, reserved, slow: true, divided, organisation, most_of_organisation: SHARE, endpoint,
                most_of_endpoint: 32,
            };
            let granted = ask.granted();
            prop_assert!(granted == 0 || free - granted >= reserved);
        }
    }

    #[test]
    fn five_busy_organisations_that_hang_leave_room_for_the_others() {
        let mut room = Room::new(6, 6);
        for organisation in 0..5 {
            for _ in 0..3 {
                for endpoint in 0..6 {
                    room.take(organisation, endpoint);
                }
            }
        }
        assert!(room.free() >= 64, "{}", room.free());
        assert!(room.take(5, 0) >= 12, "a sixth one goes on");
    }

    #[test]
    fn alone_in_an_empty_room_an_endpoint_gets_all_it_may_and_undivided_room_goes_to_its_end() {
        let room = Room::new(1, 6);
        assert_eq!(room.ask(0, 0).granted(), 32);
        let all =
            Ask { divided: false, most_of_organisation: usize::MAX, most_of_endpoint: 100, free: 3, ..room.ask(0, 0) };
        assert_eq!(all.granted(), 3);
        assert_eq!(Ask { free: 1, ..room.ask(0, 0) }.granted(), 0, "the last place is nobody's");
    }
}
