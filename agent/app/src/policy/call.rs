use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use nix::unistd::{Uid, User};
use tollgate_config::{CaseCall, Config};
use tollgate_llm::{Catalogue, Operation};
use tollgate_policy::Subject;
use tollgate_workload::{Caller, Pod, Workloads};

use crate::exit::{Coded, NO_INPUT, USAGE};
use crate::settings;

/// A call, as the command line describes it.
#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// A process that runs here: its program, user, unit and container are looked up
    #[arg(long, value_name = "PID", help_heading = "Who calls")]
    pid: Option<u32>,
    /// File name of the executable
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    program: Option<String>,
    /// Path of the executable
    #[arg(long, value_name = "PATH", help_heading = "Who calls")]
    executable: Option<PathBuf>,
    /// Login name
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    user: Option<String>,
    /// User id
    #[arg(long, value_name = "NUMBER", help_heading = "Who calls")]
    uid: Option<u32>,
    /// Path in the cgroup v2 hierarchy
    #[arg(long, value_name = "PATH", help_heading = "Who calls")]
    cgroup: Option<String>,
    /// Unit of the system's systemd
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    unit: Option<String>,
    /// Unit of the user's own systemd
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    user_unit: Option<String>,
    /// Id of the container
    #[arg(long, value_name = "ID", help_heading = "Who calls")]
    container: Option<String>,
    /// Name of the pod
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    pod: Option<String>,
    /// Kubernetes namespace
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    namespace: Option<String>,
    /// Kubernetes service account
    #[arg(long, value_name = "NAME", help_heading = "Who calls")]
    service_account: Option<String>,
    /// A label of the pod; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Who calls")]
    label: Vec<String>,
    /// Fingerprint of the credential, as reports show it
    #[arg(long, value_name = "FINGERPRINT", help_heading = "What is asked")]
    credential: Option<String>,
    /// The SDK, from user-agent
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    user_agent: Option<String>,
    /// Whom the request says that it is for
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    end_user: Option<String>,
    /// The provider's name [default: the host's, or openai]
    #[arg(long, value_name = "NAME", help_heading = "What is asked")]
    provider: Option<String>,
    /// The provider's region [default: the host's]
    #[arg(long, value_name = "NAME", help_heading = "What is asked")]
    region: Option<String>,
    /// The host that is called [default: one of the provider's]
    #[arg(long, value_name = "NAME", help_heading = "What is asked")]
    host: Option<String>,
    /// What is asked: chat, embeddings, image and so on
    #[arg(long, value_name = "NAME", default_value = "chat", help_heading = "What is asked")]
    operation: String,
    /// The model
    #[arg(long, value_name = "NAME", help_heading = "What is asked")]
    model: Option<String>,
    /// A stream is asked for
    #[arg(long, help_heading = "What is asked")]
    stream: bool,
    /// The most output tokens that the request allows
    #[arg(long, value_name = "NUMBER", help_heading = "What is asked")]
    max_output_tokens: Option<u64>,
    /// When it is made, such as 2026-11-28T23:00, here, or with an offset [default: now]
    #[arg(long, value_name = "TIME", help_heading = "What is asked")]
    at: Option<String>,
}

/// A call, and when it is made.
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) provider: String,
    pub(super) region: Option<String>,
    pub(super) host: String,
    pub(super) operation: Operation,
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) credential: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) end_user: Option<String>,
    pub(super) at: Timestamp,
}

/// Whom cases mean that do not say it: the user that is nobody.
const NOBODY: u32 = 65_534;

impl Call {
    /// As a policy sees it.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            caller: &self.caller,
            credential: self.credential.as_deref(),
            provider: &self.provider,
            region: self.region.as_deref(),
            host: &self.host,
            operation: self.operation,
            model: self.model.as_deref(),
            stream: self.stream,
            max_output_tokens: self.max_output_tokens,
            end_user: self.end_user.as_deref(),
            user_agent: self.user_agent.as_deref(),
        }
    }

    /// The one of a case.
    pub(super) fn of_case(case: &CaseCall, config: &Config) -> Self {
        let field = |key: &str| case.fields.get(key).cloned();
        let arc = |key: &str| field(key).map(Arc::from);
        let caller = Caller {
            program: arc("program").unwrap_or_default(),
            executable: field("executable").map(PathBuf::from),
            user: arc("user").unwrap_or_default(),
            uid: case.uid.unwrap_or(NOBODY),
            pid: 0,
            cgroup: arc("cgroup"),
            unit: arc("user_unit").or_else(|| arc("unit")),
            system_unit: arc("unit"),
            container: arc("container"),
            pod: pod(arc("pod"), arc("namespace"), arc("service_account"), case.labels.clone()),
        };
        let (provider, region, host) = place(config, field("provider"), field("region"), field("host"));
        Self {
            caller,
            provider,
            region,
            host,
            operation: case.operation.unwrap_or(Operation::Chat),
            model: field("model"),
            stream: case.stream,
            max_output_tokens: case.max_output_tokens,
            credential: field("credential"),
            user_agent: field("user_agent"),
            end_user: field("end_user"),
            at: case.at.unwrap_or_else(Timestamp::now),
        }
    }

    /// The one of the command line.
    pub(super) fn of_args(args: &CallArgs, config: &Config) -> anyhow::Result<Self> {
        let (provider, region, host) = place(config, args.provider.clone(), args.region.clone(), args.host.clone());
        Ok(Self {
            caller: caller(args)?,
            provider,
            region,
            host,
            operation: operation(&args.operation)?,
            model: args.model.clone(),
            stream: args.stream,
            max_output_tokens: args.max_output_tokens,
            credential: args.credential.clone(),
            user_agent: args.user_agent.clone(),
            end_user: args.end_user.clone(),
            at: args.at.as_deref().map_or_else(|| Ok(Timestamp::now()), moment)?,
        })
    }
}

fn caller(args: &CallArgs) -> anyhow::Result<Caller> {
    let base = match args.pid {
        Some(pid) => process(pid)?,
        None => myself(),
    };
    let mut labels = BTreeMap::new();
    for label in &args.label {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| Coded::new(USAGE, format!("--label: `{label}` has no `=`; write it as app=web")))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let text = |text: &Option<String>| text.as_deref().map(Arc::from);
    let (user, uid) = user(args, &base)?;
    let pod = pod(text(&args.pod), text(&args.namespace), text(&args.service_account), labels);
    Ok(Caller {
        program: text(&args.program).unwrap_or(base.program),
        executable: args.executable.clone().or(base.executable),
        user,
        uid,
        pid: base.pid,
        cgroup: text(&args.cgroup).or(base.cgroup),
        unit: text(&args.user_unit).or_else(|| text(&args.unit)).or(base.unit),
        system_unit: text(&args.unit).or(base.system_unit),
        container: text(&args.container).or(base.container),
        pod: pod.or(base.pod),
    })
}

/// Name and number, of which either tells the other.
fn user(args: &CallArgs, base: &Caller) -> anyhow::Result<(Arc<str>, u32)> {
    match (&args.user, args.uid) {
        (None, None) => Ok((Arc::clone(&base.user), base.uid)),
        (Some(name), Some(uid)) => Ok((name.as_str().into(), uid)),
        (None, Some(uid)) => Ok((name_of(uid), uid)),
        (Some(name), None) => match User::from_name(name) {
            Ok(Some(user)) => Ok((name.as_str().into(), user.uid.as_raw())),
            _ => Err(Coded::new(USAGE, format!("--user: there is no user `{name}` here; give its --uid too")).into()),
        },
    }
}

fn name_of(uid: u32) -> Arc<str> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name.into(),
        _ => uid.to_string().into(),
    }
}

/// Whoever runs this command, by `sudo` or without, with a program that is not said.
fn myself() -> Caller {
    let sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    let uid = sudo.unwrap_or_else(|| Uid::current().as_raw());
    Caller {
        program: Arc::default(),
        executable: None,
        user: name_of(uid),
        uid,
        pid: 0,
        cgroup: None,
        unit: None,
        system_unit: None,
        container: None,
        pod: None,
    }
}

/// A process that runs here, found as the agent finds it.
fn process(pid: u32) -> anyhow::Result<Caller> {
    let folder = Path::new("/proc").join(pid.to_string());
    let missing = |_gone| Coded::new(NO_INPUT, format!("--pid: there is no process {pid} here"));
    let status = std::fs::read_to_string(folder.join("status")).map_err(missing)?;
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
    let uid = line("Uid:").and_then(|uid| uid.parse().ok()).context("/proc does not tell whose process it is")?;
    let program = line("Name:").unwrap_or_default();
    let groups = std::fs::read_to_string(folder.join("cgroup")).map_err(missing)?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let id = group.and_then(|group| {
        let root = tollgate_kernel::cgroup::root().ok()?;
        tollgate_kernel::cgroup::id(&root.join(group)).ok()
    });
    Ok(Caller::clone(&Workloads::new().identify(pid, uid, program, id.unwrap_or_default())))
}

fn pod(
    name: Option<Arc<str>>,
    namespace: Option<Arc<str>>,
    service_account: Option<Arc<str>>,
    labels: BTreeMap<String, String>,
) -> Option<Arc<Pod>> {
    if name.is_none() && namespace.is_none() && service_account.is_none() && labels.is_empty() {
        return None;
    }
    let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    Some(Arc::new(Pod { uid: Arc::default(), name, namespace, service_account, labels }))
}

/// Provider, region and host, of which one tells the others where it can.
fn place(
    config: &Config,
    provider: Option<String>,
    region: Option<String>,
    host: Option<String>,
) -> (String, Option<String>, String) {
    let catalogue: Catalogue = settings::catalogue(config);
    let found = host.as_deref().and_then(|host| catalogue.find(host));
    let name = provider.unwrap_or_else(|| found.map_or_else(|| "openai".into(), |found| found.name.to_string()));
    let host = host.unwrap_or_else(|| {
        let known = catalogue.providers().iter().find(|known| *known.name == *name);
        let hosts = known.into_iter().flat_map(|known| &known.hosts).map(ToString::to_string);
        hosts.min_by_key(|host| host.contains('*')).unwrap_or_default()
    });
    let region = region.or_else(|| catalogue.find(&host)?.region(&host).map(str::to_owned));
    (name, region, host)
}

fn operation(name: &str) -> anyhow::Result<Operation> {
    let known = Operation::ALL;
    known.into_iter().find(|operation| operation.as_str() == name).ok_or_else(|| {
        let known = known.map(Operation::as_str).join(", ");
        Coded::new(USAGE, format!("--operation: there is no `{name}`; those that are known: {known}")).into()
    })
}

/// A time with its offset, or one of the clocks here.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let here = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::system()).ok());
    here.map(|time| time.timestamp()).ok_or_else(|| {
        let told = format!("--at: `{text}` is no time; write it as 2026-11-28T23:00 or 2026-11-28T23:00:00+01:00");
        Coded::new(USAGE, told).into()
    })
}
