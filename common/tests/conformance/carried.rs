//! What providers have carried lately, as routing asks for it.

use std::time::Duration;

use common::otp::chain::{OwnTarget, Planned};
use common::otp::channel::Channel;
use common::otp::ids::DispatchId;
use common::otp::rows::Sealed;
use common::otp::status::ReceiptStatus;
use common::store::carried::{Carried, CarriedSince, Counts};

use crate::world::{ANN, BOB, CODE, T0, World, at, receipt};

crate::scenarios! {
    messages_count_by_provider_and_country_once_they_could_have_arrived,
    codes_count_once_they_could_have_come_back,
    a_code_that_came_back_after_a_resend_is_the_resends,
    what_is_not_of_lately_or_not_for_real_does_not_count,
    a_fallback_elsewhere_counts_for_its_own_country,
}

async fn carried(world: &World, seconds: u64) -> Vec<Carried> {
    let time = Duration::from_secs;
    let since =
        CarriedSince { now: at(seconds), late: time(30), receipts: time(180), settled: time(120), codes: time(900) };
    let mut carried = world.store.carried(&since).await.expect("carried");
    carried.sort_by_key(|row| row.country.clone());
    carried
}

fn row(country: Option<&str>, [handed, in_time, delivered, asked, verified]: [u32; 5]) -> Carried {
    let channel = if country.is_some() { Channel::Sms } else { Channel::Email };
    let counts = Counts { handed, in_time, delivered, asked, verified };
    Carried { provider: "acme".to_owned(), channel, country: country.map(str::to_owned), counts }
}

async fn messages_count_by_provider_and_country_once_they_could_have_arrived(world: World) {
    for (target, message_id, arrives) in [
        (ANN, "m1", Some(29)),
        ("+4915112345679", "m2", Some(31)),
        ("+4915112345670", "m3", None),
        (BOB, "m4", Some(0)),
    ] {
        world.sent(T0, target, message_id).await;
        if let Some(seconds) = arrives {
            world.receive(receipt(at(seconds), message_id, ReceiptStatus::Delivered)).await;
        }
    }
    assert_eq!(carried(&world, 29).await, []);
    assert_eq!(carried(&world, 31).await, [row(None, [1, 1, 1, 0, 0]), row(Some("DE"), [3, 1, 2, 0, 0])]);
    assert_eq!(carried(&world, 181).await, [row(None, [0, 0, 0, 1, 0]), row(Some("DE"), [0, 0, 0, 3, 0])]);
}

async fn codes_count_once_they_could_have_come_back(world: World) {
    world.sent(T0, ANN, "m1").await;
    world.sent(T0, "+4915112345679", "m2").await;
    let mut relayed = world.request(T0, "+4915112345670").0;
    relayed.candidate.budget = 0;
    let id: DispatchId = world.accept_one(T0, relayed).await.expect("accepted").dispatch;
    let held = world.claimed(T0, id, 1).await;
    world.finish(T0, crate::world::taken(T0, held, "m3")).await;
    world.verify_one(at(20), world.guess(ANN, CODE)).await;
    assert_eq!(carried(&world, 119).await, [row(Some("DE"), [3, 0, 0, 0, 0])]);
    let without_the_relayed = [row(Some("DE"), [3, 0, 0, 2, 1])];
    assert_eq!(carried(&world, 121).await, without_the_relayed);
}

async fn a_code_that_came_back_after_a_resend_is_the_resends(world: World) {
    let first = world.sent(T0, ANN, "m1").await;
    let again = world.send(at(31), ANN).await;
    assert_eq!(again.verification, first.verification);
    let held = world.claimed(at(31), again, 1).await;
    let mut elsewhere = crate::world::taken(at(31), held, "m2");
    elsewhere.call.as_mut().expect("a call").provider = "other".to_owned();
    world.finish(at(31), elsewhere).await;
    world.verify_one(at(40), world.guess(ANN, CODE)).await;
    let carried = carried(&world, 200).await;
    let verified = |name: &str| carried.iter().find(|row| row.provider == name).map(|row| row.counts.verified);
    assert_eq!((verified("acme"), verified("other")), (Some(0), Some(1)));
}

async fn what_is_not_of_lately_or_not_for_real_does_not_count(world: World) {
    world.sent(T0, ANN, "m1").await;
    world.send(T0, "+4915112345679").await;
    let played = world.request(T0, BOB).sandbox().0;
    let id = world.accept_one(T0, played).await.expect("accepted").dispatch;
    let held = world.claimed(T0, id, 1).await;
    world.finish(T0, crate::world::taken(T0, held, "m2")).await;
    assert_eq!(carried(&world, 200).await, [row(Some("DE"), [0, 0, 0, 1, 0])]);
    assert_eq!(carried(&world, 901).await, []);
}

async fn a_fallback_elsewhere_counts_for_its_own_country(world: World) {
    let mut request = crate::chain::request(&world, T0);
    let own = |country: Option<&str>| OwnTarget {
        sealed: Sealed(vec![1]),
        sealed_as: request.candidate.id,
        country: country.map(str::to_owned),
    };
    request.fallbacks[0].target = Some(own(Some("AT")));
    request.fallbacks.push(Planned { target: Some(own(None)), ..request.fallbacks[0].clone() });
    let first = crate::chain::sent(&world, request, "m1").await;
    for (by, now, message_id) in [(1, 20, "m2"), (2, 40, "m3")] {
        let fired = crate::chain::fire(&world, at(now), crate::chain::after(first, by)).await.expect("its turn");
        world.finish(at(now), crate::world::taken(at(now), fired.attempt(), message_id)).await;
    }
    let counts = carried(&world, 100).await.into_iter().map(|row| (row.country, row.counts.handed));
    assert_eq!(counts.collect::<Vec<_>>(), [(None, 1), (Some("AT".to_owned()), 1), (Some("DE".to_owned()), 1)]);
}
