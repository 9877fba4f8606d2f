//! Budgets that are kept for each team, user or pod apart.

use super::*;
use crate::spend::groups::MOST;

#[test]
fn groups_are_told_apart_whatever_stands_in_their_values() {
    let values: Vec<Option<&str>> = vec![
        None,
        Some("a"),
        Some("a,provider=openai"),
        Some("a\\"),
        Some("a\\,x"),
        Some("a,x"),
        Some("\n"),
        Some("\\u{a}"),
    ];
    let per = [Field::EndUser, Field::Model];
    let mut groups = std::collections::HashSet::new();
    let alice = caller("alice");
    for end_user in &values {
        for model in &values {
            let subject = Subject { end_user: *end_user, model: *model, ..subject(&alice) };
            let group = crate::group::group(&per, &subject, &Named::default());
            assert!(!group.chars().any(char::is_control));
            assert!(groups.insert(group), "{end_user:?} {model:?}");
        }
    }
    let subject = Subject { end_user: Some("bob"), host: "API.OpenAI.com", ..subject(&alice) };
    let per = [Field::EndUser, Field::Team, Field::Host, Field::Pod];
    let named = Named { team: Some("search".into()), cost_center: None };
    assert_eq!(crate::group::group(&per, &subject, &named), "end_user=bob,team=search,host=api.openai.com,pod");
    let pod = Pod { uid: "1-2-3".into(), ..Pod::default() };
    let in_pod = Caller { pod: Some(pod.into()), ..alice.clone() };
    let subject = Subject { caller: &in_pod, ..subject };
    assert_eq!(crate::group::group(&[Field::Pod], &subject, &named), "pod_uid=1-2-3");
}

#[test]
fn made_up_end_users_share_a_group_once_there_are_too_many_of_them() {
    let mut each = budget("each", Amount::Tokens(10, Count::Total));
    each.per = vec![Field::EndUser];
    let engine = engine(vec![each], vec![]);
    let alice = caller("alice");
    let spend = |end_user: &str| {
        let subject = Subject { end_user: Some(end_user), ..subject(&alice) };
        call(&engine, &subject, tokens(6, 0), NOON)
            .map(|reservation| reservation.settle(&used(6, 0)).0[0].group.to_string())
    };
    for number in 0..MOST {
        assert_ne!(spend(&number.to_string()).unwrap(), "*");
    }
    assert_eq!(spend("one more").unwrap(), "*");
    let refused = spend("and another").unwrap_err();
    assert!(refused.message.contains("10 tokens a day for all that have no share of their own"), "{}", refused.message);
    // Whoever was there before still has his own, and nobody's spending was forgotten.
    assert_eq!(spend("7").unwrap_err().name, "each".into());
    // A name beyond all measure is one of those from the beginning.
    assert!(spend(&"x".repeat(1 << 20)).unwrap_err().message.contains("no share of their own"));
    assert_eq!(engine.budgets(3, at(NOON)).len(), 3);
}

#[test]
fn groups_that_are_not_used_any_more_make_room_for_others() {
    let mut each = limit("each", Measure::Requests, 1);
    (each.per, each.period) = (vec![Field::EndUser], Duration::from_nanos(1));
    let engine = engine(vec![], vec![each]);
    let alice = caller("alice");
    for number in 0..MOST + 5000 {
        let end_user = number.to_string();
        let subject = Subject { end_user: Some(&end_user), ..subject(&alice) };
        call(&engine, &subject, tokens(1, 1), NOON).unwrap().settle(&used(1, 1));
    }
    let kept = engine.plan().limits[0].groups.len();
    assert!(kept < 10_000, "{kept}");
}

#[test]
fn status_lists_the_groups_with_the_largest_share_first() {
    let mut each = budget("each", money("10"));
    each.per = vec![Field::User];
    let engine = engine(vec![each, budget("all", money("1000"))], vec![]);
    let mut on_its_way = Vec::new();
    for (user, sum) in [("a", "1"), ("b", "9"), ("c", "5"), ("d", "7")] {
        on_its_way.push(call(&engine, &subject(&caller(user)), costs(sum), NOON).unwrap());
    }
    let states = engine.budgets(3, at(NOON));
    let shares: Vec<_> = states.iter().map(|state| (&*state.name, &*state.group, state.reserved)).collect();
    assert_eq!(
        shares,
        [("each", "user=b", dollars("9")), ("each", "user=d", dollars("7")), ("each", "user=c", dollars("5"))]
    );
    assert_eq!((states[0].limit, states[0].resets), (money("10"), at(NOON + 12 * 3600)));
}
