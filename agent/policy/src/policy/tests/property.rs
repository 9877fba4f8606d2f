//! The index finds what looking at everything finds, whatever the policy and the call.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Few different values, so that they meet.
const WORDS: [&str; 9] = ["a", "ab", "abc", "b", "team-1", "team-12", "team-123-x", "é", "A"];
const FIELDS: [Field; 8] = [
    Field::Team,
    Field::User,
    Field::Host,
    Field::Provider,
    Field::Model,
    Field::Namespace,
    Field::EndUser,
    Field::Operation,
];

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&WORDS[..]).prop_map(str::to_owned),
        2 => select(&WORDS[..]).prop_map(|word| format!("{word}*")),
        1 => select(&WORDS[..]).prop_map(|word| format!("*{word}")),
        1 => select(&WORDS[..]).prop_map(|word| format!("?{word}*")),
        1 => select(&["*", "team-*-x", "a*c", "*b*", "?", "chat", "image"][..]).prop_map(str::to_owned),
    ]
}

fn patterns() -> impl Strategy<Value = Patterns> {
    let one = (pattern(), prop::bool::weighted(0.2)).prop_map(
        |(text, is_excluded)| {
            if is_excluded { format!("!{text}") } else { text }
        },
    );
    prop::collection::vec(one, 1..4).prop_map(|texts| Patterns::parse(&texts).unwrap())
}

fn selectors() -> impl Strategy<Value = Selector> {
    let fields = prop::collection::btree_map(select(&FIELDS[..]), patterns(), 0..4);
    let labels = prop::collection::btree_map(select(&["app", "env"][..]), patterns(), 0..2);
    (fields, labels).prop_map(|(fields, labels)| Selector {
        fields: fields.into_iter().collect(),
        labels: labels.into_iter().map(|(name, patterns)| (name.to_owned(), patterns)).collect(),
    })
}

fn value() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::weighted(0.8, select(&WORDS[..]))
}

#[derive(Debug)]
struct Asked {
    caller: Caller,
    host: &'static str,
    provider: &'static str,
    model: Option<&'static str>,
    end_user: Option<&'static str>,
}

impl Asked {
    fn subject(&self) -> Subject<'_> {
        let (model, end_user) = (self.model, self.end_user);
        Subject { host: self.host, provider: self.provider, model, end_user, ..subject(&self.caller) }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let of = (value(), value(), value(), value(), value(), value(), value(), any::<bool>());
    of.prop_map(|(user, host, provider, model, end_user, namespace, label, has_pod)| {
        let labels = label.map(|label| ("app".into(), label.into())).into_iter().collect();
        let pod = Pod { namespace: namespace.map(Into::into), labels, ..Pod::default() };
        let pod = has_pod.then(|| Arc::new(pod));
        let caller = Caller { user: user.unwrap_or_default().into(), pod, ..caller() };
        Asked { caller, host: host.unwrap_or_default(), provider: provider.unwrap_or_default(), model, end_user }
    })
}

fn policy() -> impl Strategy<Value = Spec> {
    let team = (select(&WORDS[..]), selectors()).prop_map(|(name, matches)| {
        // Teams may not name teams.
        let fields = matches.fields.into_iter().filter(|(field, _)| *field != Field::Team).collect();
        Team { name: name.into(), cost_center: None, matches: Selector { fields, ..matches }, when: None }
    });
    let rule = (selectors(), prop::bool::weighted(0.3), any::<bool>()).prop_map(|(matches, observes, denies)| Rule {
        matches,
        mode: if observes { Mode::Observe } else { Mode::Enforce },
        action: if denies { Action::Deny } else { Action::Allow },
        ..rule("", &[])
    });
    let budget = selectors().prop_map(|matches| Budget { matches, ..budget("", &[]) });
    (prop::collection::vec(team, 0..6), prop::collection::vec(rule, 0..80), prop::collection::vec(budget, 0..40))
        .prop_map(|(teams, mut rules, budgets)| {
            rules.iter_mut().enumerate().for_each(|(at, rule)| rule.name = at.to_string().into());
            Spec { teams, rules, budgets, ..Spec::default() }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_decision_is_that_of_asking_one_after_the_other(spec in policy(), calls in prop::collection::vec(asked(), 1..12)) {
        let policy = Policy::new(spec.clone());
        for asked in &calls {
            let subject = asked.subject();
            let nobody = Named::default();
            let team = spec.teams.iter().find(|team| team.matches.matches(&subject, &nobody));
            let named = Named { team: team.map(|team| Arc::clone(&team.name)), cost_center: None };
            let call = policy.call(&subject, now());
            prop_assert_eq!(&call.named, &named);

            let budgets = (0..).zip(&spec.budgets).filter(|(_, budget)| budget.matches.matches(&subject, &named));
            prop_assert_eq!(policy.matching(&call).budgets, budgets.map(|(at, _)| at).collect::<Vec<u32>>());

            let matching: Vec<usize> =
                (0..spec.rules.len()).filter(|at| spec.rules[*at].matches.matches(&subject, &named)).collect();
            prop_assert_eq!(policy.matching_rules(&call).collect::<Vec<_>>(), matching.clone());
            let deciding = matching.into_iter().find(|at| spec.rules[*at].mode == Mode::Enforce);
            let expected = deciding.map(|at| &spec.rules[at]).filter(|rule| rule.action == Action::Deny);
            let refused = policy.ask_rules(&call).err().map(|refused| refused.name);
            prop_assert_eq!(refused, expected.map(|rule| Arc::clone(&rule.name)));
            let explained = policy.explain(&subject, now());
            prop_assert_eq!(explained.decision.rule, deciding.map(|at| Arc::clone(&spec.rules[at].name)));
        }
    }
}
