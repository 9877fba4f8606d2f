//! The regions in which clouds serve models, as of 2026-11-23, from their documentation (Amazon Bedrock endpoints and quotas,
//! Vertex AI locations, OCI Generative AI regions, Volcengine Ark).
//!
//! A certificate authority can be held to names and to all below them, not to `bedrock-runtime.*.amazonaws.com`: that would be
//! `amazonaws.com`, object stores and all. So it is made for the regions by name. A region that is not here is tunnelled until
//! the configuration names its host.

#[rustfmt::skip]
const AWS: &[&str] = &[
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
    "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7", "ca-central-1",
    "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
    "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1",
    "us-gov-west-1", "us-west-1", "us-west-2",
];
const AWS_FIPS: &[&str] = &[
    "ca-central-1",
    "ca-west-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];
#[rustfmt::skip]
const GOOGLE: &[&str] = &[
    "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1",
    "asia-south2", "asia-southeast1", "asia-southeast2", "australia-southeast1", "australia-southeast2", "europe-central2",
    "europe-north1", "europe-southwest1", "europe-west1", "europe-west2", "europe-west3", "europe-west4", "europe-west6",
    "europe-west8", "europe-west9", "europe-west12", "me-central1", "me-central2", "me-west1", "northamerica-northeast1",
    "northamerica-northeast2", "southamerica-east1", "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5",
    "us-south1", "us-west1", "us-west2", "us-west3", "us-west4",
];
const GOOGLE_MULTI: &[&str] = &["eu", "us"];
#[rustfmt::skip]
const ORACLE: &[&str] = &[
    "ap-hyderabad-1", "ap-osaka-1", "eu-frankfurt-1", "me-dubai-1", "me-riyadh-1", "sa-saopaulo-1", "uk-london-1", "us-ashburn-1",
    "us-chicago-1", "us-phoenix-1",
];
const VOLCENGINE: &[&str] = &["ap-southeast", "cn-beijing", "cn-shanghai", "eu-west"];

/// The regions that a pattern's `*` stands for, where what is after it belongs to a whole cloud and not to its models alone.
pub(super) fn of(pattern: &str) -> Option<&'static [&'static str]> {
    Some(match pattern {
        "bedrock-runtime-fips.*.amazonaws.com" => AWS_FIPS,
        _ if pattern.ends_with(".*.amazonaws.com") || pattern.ends_with(".*.api.aws") => AWS,
        "*-aiplatform.googleapis.com" => GOOGLE,
        "aiplatform.*.rep.googleapis.com" => GOOGLE_MULTI,
        "inference.generativeai.*.oci.oraclecloud.com" => ORACLE,
        "ark.*.volces.com" | "ark.*.bytepluses.com" => VOLCENGINE,
        _ => return None,
    })
}
