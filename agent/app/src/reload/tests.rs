use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal as Kill, raise};
use tokio::signal::unix::{SignalKind, signal};
use tollgate_admin::ConfigState;
use tollgate_proxy::upstream::{Limits, SystemDial, Upstream};
use tollgate_tls::Roots;

use super::*;
use crate::observe::Observers;

/// Longer than anything here takes on a machine that does much else.
const GENEROUS: Duration = Duration::from_mins(2);

/// A folder with a configuration that is in force and followed.
struct Place {
    folder: tempfile::TempDir,
    standing: Arc<Standing>,
    engine: Arc<Engine>,
}

impl Place {
    /// Begins with a text in `tollgate.yaml`, unless `prepare` makes that file in another way.
    async fn with(prepare: impl FnOnce(&Path)) -> Self {
        // All tests of this process get its signals, so only one may have the real one.
        Self::told_by(SignalKind::user_defined2(), prepare).await
    }

    async fn told_by(kind: SignalKind, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tollgate.yaml");
        prepare(folder.path());
        let config = Config::load(&file).expect("it is good");
        let stamps = stamps(Some(&file), &config);
        let standing = Arc::new(Standing::new(Some(file), &config));
        let engine = enforce::engine(&config, None).await;
        let metrics = Arc::new(tollgate_admin::Metrics::new("own", "1"));
        let roots = Roots::load(&[]).expect("the system has roots");
        let upstream = Upstream::with(&roots, Limits::default(), Arc::new(SystemDial));
        let http = Http::new(upstream, Arc::new(Observers::new(metrics, None, None)));
        let live = Live { engine: Arc::clone(&engine), http, ledger: None, audit: None, level: logs::Level::unused() };
        let hangup = signal(kind).expect("signals can be waited for");
        let reloader = Arc::new(Reloader::new(&config, stamps, Arc::clone(&standing), live));
        tokio::spawn(keep(reloader, hangup));
        Self { folder, standing, engine }
    }

    async fn new(text: &str) -> Self {
        Self::with(|folder| std::fs::write(folder.join("tollgate.yaml"), text).expect("written")).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("tollgate.yaml"), text).expect("written");
    }

    /// Waits until it stands so.
    async fn until(&self, what: &str, holds: impl Fn(&ConfigState) -> bool) -> ConfigState {
        let waited = tokio::time::timeout(GENEROUS, async {
            while !holds(&self.standing.state()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "never came to be: {what}; {:?}", self.standing.state());
        self.standing.state()
    }

    /// Waits until what is wrong is told so.
    async fn until_refused(&self, told: &str) -> ConfigState {
        self.until(told, |state| state.trouble.as_ref().is_some_and(|trouble| trouble.contains(told))).await
    }

    /// Waits until this rule alone is in force.
    async fn until_rule(&self, rule: &str) -> ConfigState {
        self.until(rule, |_| self.rules() == [rule]).await;
        // The engine is told first.
        self.until("a good end", |state| state.reloads > 0 && state.trouble.is_none()).await
    }

    /// The rules in force.
    fn rules(&self) -> Vec<String> {
        self.engine.policy().spec().rules.iter().map(|rule| rule.name.to_string()).collect()
    }
}

fn rule(name: &str) -> String {
    format!("policy: {{ rules: [{{ name: {name}, action: deny, match: {{ model: {name} }} }}] }}\n")
}

#[tokio::test]
async fn a_changed_file_is_taken_over() {
    let place = Place::new(&rule("first")).await;
    assert_eq!(place.rules(), ["first"]);
    place.write(&rule("second"));
    let state = place.until_rule("second").await;
    assert_eq!((state.needs_restart.len(), state.warnings.len()), (0, 0));
}

#[tokio::test]
async fn a_file_that_is_replaced_by_another_is_taken_over() {
    let place = Place::new(&rule("first")).await;
    // As editors and configuration management write.
    std::fs::write(place.path(".new"), rule("second")).expect("written");
    std::fs::rename(place.path(".new"), place.path("tollgate.yaml")).expect("renamed");
    place.until_rule("second").await;
}

#[tokio::test]
async fn a_swap_of_a_config_map_is_taken_over_again_and_again() {
    let version = |folder: &Path, number: u32| {
        let data = format!("..2026_{number}");
        std::fs::create_dir(folder.join(&data)).expect("made");
        std::fs::write(folder.join(&data).join("tollgate.yaml"), rule(&format!("v{number}"))).expect("written");
        symlink(&data, folder.join("..data_tmp")).expect("linked");
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swapped");
    };
    let place = Place::with(|folder| {
        version(folder, 0);
        symlink("..data/tollgate.yaml", folder.join("tollgate.yaml")).expect("linked");
    });
    let place = place.await;
    for number in 1..4 {
        version(place.folder.path(), number);
        place.until_rule(&format!("v{number}")).await;
        // As kubelets do once the new one is in place.
        std::fs::remove_dir_all(place.path(&format!("..2026_{}", number - 1))).expect("removed");
    }
    assert_eq!(place.standing.state().refused, 0, "there is a whole file at every moment");
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_and_the_old_stays_until_a_good_one_comes() {
    let place = Place::new(&rule("first")).await;
    place.write("policy: { default: deny, rules: [{ name: second }, { name: third, action: maybe }] }\n");
    let state = place.until_refused("`maybe` is not possible here").await;
    assert!(state.trouble.is_some_and(|trouble| trouble.contains("tollgate.yaml:1:")));
    assert_eq!((place.rules(), state.reloads), (vec!["first".to_owned()], 0));
    assert_eq!(place.engine.policy().spec().default, tollgate_policy::Action::Allow);
    assert!(!place.standing.figures().is_good);
    std::fs::remove_file(place.path("tollgate.yaml")).expect("removed");
    place.until_refused("No such file").await;
    place.write("");
    place.until_refused("is empty").await;
    assert_eq!(place.rules(), ["first"]);
    place.write(&rule("fourth"));
    place.until_rule("fourth").await;
    assert!(place.standing.figures().is_good);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    let place = Place::new("drain: { timeout: 10s }").await;
    let more = "admin: { listen: off }\nlog: { level: debug }\n";
    place.write(&format!("drain: {{ timeout: 20s }}\n{more}{}", rule("one")));
    assert_eq!(place.until_rule("one").await.needs_restart, ["admin", "drain"]);
    place.write(&format!("drain: {{ timeout: 10s }}\n{}", rule("two")));
    let state = place.until_rule("two").await;
    assert_eq!(state.needs_restart, [""; 0], "compared with what the agent was started with");
}

#[tokio::test]
async fn a_price_file_is_followed_and_a_bad_one_refused_with_all_else() {
    let prices = |rate: &str| {
        let rates = format!("rates: {{ input: {rate}, output: 8 }}");
        format!("source: ours\ndate: 2026-11-01\nprices: [{{ provider: openai, model: gpt-5, {rates} }}]\n")
    };
    let text = |folder: &Path| format!("prices: {{ files: [{}] }}\n", folder.join("prices.yaml").display());
    let place = Place::with(|folder| {
        std::fs::write(folder.join("prices.yaml"), prices("1")).expect("written");
        std::fs::write(folder.join("tollgate.yaml"), text(folder)).expect("written");
    });
    let place = place.await;
    std::fs::write(place.path("prices.yaml"), prices("2")).expect("written");
    place.until("the new price", |state| state.reloads > 0 && state.trouble.is_none()).await;
    std::fs::write(place.path("prices.yaml"), prices("much")).expect("written");
    place.until_refused("prices.yaml:3:").await;
}

#[tokio::test]
async fn a_price_file_may_come_after_what_names_it() {
    let place = Place::new(&rule("first")).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let prices = elsewhere.path().join("prices.yaml");
    place.write(&format!("prices: {{ files: [{}] }}\n{}", prices.display(), rule("second")));
    place.until_refused("prices.yaml").await;
    assert_eq!(place.rules(), ["first"]);
    std::fs::write(&prices, "source: ours\ndate: 2026-11-01\nprices: []\n").expect("written");
    place.until_rule("second").await;
}

#[tokio::test]
async fn a_signal_reads_again_what_has_not_changed() {
    let written = |folder: &Path| std::fs::write(folder.join("tollgate.yaml"), rule("first")).expect("written");
    let place = Place::told_by(SignalKind::hangup(), written).await;
    raise(Kill::SIGHUP).expect("sent to ourselves");
    let state = place.until("the signal", |state| state.reloads > 0).await;
    assert_eq!((state.trouble, place.rules()), (None, vec!["first".to_owned()]));
}
