use std::sync::Arc;

use tollgate_llm::Operation;
use tollgate_workload::Caller;

/// What is known of a call when it is to be decided on. Who calls comes from the kernel; what the request says of itself may be
/// wrong, and is fit to refuse by, not to trust.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The process that calls, with its unit, container and pod.
    pub caller: &'a Caller,
    /// Keyed hash of the credential, in hexadecimal.
    pub credential: Option<&'a str>,
    /// As in `gen_ai.provider.name`.
    pub provider: &'a str,
    /// The provider's region.
    pub region: Option<&'a str>,
    /// The host that is called.
    pub host: &'a str,
    /// What is asked.
    pub operation: Operation,
    /// The model that is asked for.
    pub model: Option<&'a str>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The most output tokens that the request allows, if it says.
    pub max_output_tokens: Option<u64>,
    /// Whom the request says that it is for: `user`, `metadata.user_id`, `safety_identifier`.
    pub end_user: Option<&'a str>,
    /// The SDK, from `user-agent`.
    pub user_agent: Option<&'a str>,
}

/// What the policy calls a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Its team.
    pub team: Option<Arc<str>>,
    /// Who pays for it.
    pub cost_center: Option<Arc<str>>,
}
