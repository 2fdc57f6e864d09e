use std::task::{Context, Waker};

use super::*;

#[test]
fn what_the_tenant_or_the_plugin_may_not_is_not_allowed_and_costs_nothing() {
    let rooms = |rooms| Quotas {
        rooms: Some(rooms),
        ..Quotas::default()
    };
    let tenants = Tenants::new(1, u64::MAX);
    let account = |own| tenants.account(Some("acme"), &rooms(3), &rooms(own));
    let (one, two) = (account(2), account(9));
    assert!(one.take(Held::Rooms, 2));
    assert!(!one.take(Held::Rooms, 1));
    assert!(!two.take(Held::Rooms, 2));
    let hold = two.hold(Held::Rooms, 1);
    assert!(hold.is_some());
    assert!(two.hold(Held::Rooms, 1).is_none());
    drop(hold);
    assert!(two.take(Held::Rooms, 1));
    assert_eq!((one.used(Held::Rooms), two.used(Held::Rooms)), (2, 1));
    one.give_back(Held::Rooms, 2);
    assert!(two.take(Held::Rooms, 2));
}

#[test]
fn what_is_coming_in_is_bounded_for_a_tenant_and_for_the_whole_server() {
    let receiving = |bytes| Quotas {
        receiving_bytes: bytes,
        ..Quotas::default()
    };
    let tenants = Tenants::new(1, 100);
    let tenant = tenants.account(Some("acme"), &receiving(Some(60)), &receiving(None));
    let root = tenants.account(None, &receiving(None), &receiving(None));
    let mut hold = tenant.hold(Held::Receiving, 10).unwrap();
    assert!(hold.resize(60) && !hold.resize(61));
    let mut others = root.hold(Held::Receiving, 40).unwrap();
    assert!(!others.resize(41));
    assert!(hold.resize(20) && others.resize(80));
    assert!(!hold.resize(21));
    assert_eq!(
        (tenant.used(Held::Receiving), root.used(Held::Receiving)),
        (20, 80)
    );
    drop((hold, others));
    assert!(root.hold(Held::Receiving, 100).is_some());
    assert_eq!(root.used(Held::Receiving), 0);
}

#[test]
fn what_a_second_allows_is_shared_by_the_tenants_plugins() {
    let messages = Quotas {
        messages_per_second: Some(1),
        ..Quotas::default()
    };
    let tenants = Tenants::new(1, u64::MAX);
    let account = || tenants.account(Some("acme"), &messages, &Quotas::default());
    let (one, two) = (account(), account());
    assert!(one.spend_one(Spent::Messages).is_ok());
    let wait = two.spend_one(Spent::Messages).unwrap_err();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    two.charge(Spent::Messages, 100);
    let wait = one.exhausted(Spent::Messages).unwrap();
    assert!(wait > Duration::from_secs(50), "{wait:?}");
    assert_eq!(one.exhausted(Spent::Deliveries), None);
    let unbounded = Account::unbounded();
    for _ in 0..1000 {
        assert!(unbounded.spend_one(Spent::Messages).is_ok());
    }
}

#[tokio::test]
async fn who_waits_is_let_in_in_order_and_woken_once() {
    const MANY: usize = 20;
    let messages = Quotas {
        messages_per_second: Some(200),
        ..Quotas::default()
    };
    let account = Tenants::new(1, u64::MAX).account(Some("acme"), &messages, &Quotas::default());
    while account.spend_one(Spent::Messages).is_ok() {}
    let in_order = Arc::new(Mutex::new(Vec::new()));
    let waiting = (0..MANY).map(|place| {
        let (account, in_order) = (account.clone(), in_order.clone());
        tokio::spawn(async move {
            let mut polls = 0;
            let mut waiting = pin!(account.wait_for_one(Spent::Messages));
            poll_fn(|cx| {
                polls += 1;
                waiting.as_mut().poll(cx)
            })
            .await;
            in_order.lock().unwrap().push(place);
            polls
        })
    });
    let mut woken = 0;
    for waiting in waiting.collect::<Vec<_>>() {
        let polls = waiting.await.unwrap();
        // The first ones need not wait when this thread was held back.
        assert!(polls <= 2, "{polls}");
        woken += polls - 1;
    }
    assert!(woken > 0);
    assert!(in_order.lock().unwrap().iter().copied().eq(0..MANY));
    assert!(
        account
            .exhausted(Spent::Messages)
            .is_none_or(|wait| wait.as_millis() < 10)
    );
}

#[tokio::test]
async fn who_leaves_the_line_is_not_counted() {
    let messages = |per_second| Quotas {
        messages_per_second: Some(per_second),
        ..Quotas::default()
    };
    let account = Tenants::new(1, u64::MAX).account(Some("acme"), &messages(1000), &messages(1));
    account.charge(Spent::Messages, 100);
    for _ in 0..1000 {
        let mut cx = Context::from_waker(Waker::noop());
        let waiting = pin!(account.wait_for_one(Spent::Messages));
        assert!(waiting.poll(&mut cx).is_pending());
    }
    assert!(account.exhausted(Spent::Messages).unwrap() <= Duration::from_secs(100));
}
