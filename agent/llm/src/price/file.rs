//! The format of price files, as serde reads and writes it: YAML or JSON, the bundled list included.
//!
//! Rates are decimals in US dollars, written as texts so that no reader on the way makes them binary fractions.

mod leaf;

use std::fmt::Write as _;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use leaf::{Amount, Day, Hours};

use super::Kind;
use crate::usage::ServiceTier;

/// A price file: where its rates are from, and the rates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where the rates are from: a price page, a contract. Shown with every price.
    #[schemars(title = "a text", example = &"our contract with OpenAI")]
    pub source: String,
    /// The day on which they were right.
    pub date: Day,
    /// What holds for all models of a provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderEntry>,
    /// One entry a model.
    #[serde(default)]
    pub prices: Vec<Entry>,
}

/// What holds for all models of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderEntry {
    /// The provider's name in the catalogue or the configuration.
    #[schemars(title = "a provider's name", example = &"azure.ai.openai")]
    pub provider: String,
    /// Providers whose prices hold for models that are not listed for this one, in this file and those below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Cached input costs as much as other input where a model has no rate for it. Otherwise its cost is unknown.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(title = "`true` or `false`", example = &"true")]
    pub cached_as_input: bool,
    /// Service tiers that cost as much as the standard one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standard_tiers: Vec<Tier>,
    /// The name that was asked for decides before the name that answered, because it says more.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(title = "`true` or `false`", example = &"true")]
    pub by_request: bool,
    /// Rates for all its models that have none of their own for that.
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub rates: Rates,
    /// Its price page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", title = "a text", example = &"https://openai.com/api/pricing")]
    pub page: Option<String>,
}

/// The price of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The provider's name in the catalogue or the configuration.
    #[schemars(title = "a provider's name", example = &"openai")]
    pub provider: String,
    /// The model's name.
    #[schemars(title = "a model's name", example = &"gpt-5")]
    pub model: String,
    /// The names that it answers to, where that is not its own alone: `*` is any text, `#` a digit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Names that are none of its own although `names` has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The regions that it holds for, with `*` for any text; without this, everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Regions that it does not hold for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_regions: Vec<String>,
    /// The first day that it holds for, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub from: Option<Day>,
    /// The first day that it does not hold for any more, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub until: Option<Day>,
    /// What each kind of use costs.
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub rates: Rates,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<LongPrompt>,
    /// Other rates from a day on, or at some hours. Of several that hold, the last counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<Period>,
    /// Other rates of service tiers and of batches; a kind that is not named there costs as without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// The shortest sound that is charged, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", title = "a number of seconds", example = &"10")]
    pub minimum_audio_seconds: Option<u32>,
    /// A factor for the whole cost, such as a discount. Without rates it applies to whatever the files below say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub multiply: Option<Amount>,
    /// Numbers in the answer that are charged on top.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<PointerRate>,
    /// Where this entry is from, if not from where the file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", title = "a text", example = &"https://openai.com/api/pricing")]
    pub source: Option<String>,
    /// The day on which this entry was right, if not the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub date: Option<Day>,
}

/// Rates that hold when the prompt is longer than so many tokens, for all of its tokens and the answer's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPrompt {
    /// Input tokens, cached ones included, above which these rates hold.
    #[schemars(title = "a number of tokens", example = &"200000")]
    pub context_over: u64,
    /// What differs.
    pub rates: Rates,
}

/// Rates that hold at some time, in place of the entry's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// The first day that it holds for, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub from: Option<Day>,
    /// The first day that it does not hold for any more, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub until: Option<Day>,
    /// The hours of each day that it holds for, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hours")]
    pub hours: Option<Hours>,
    /// All rates of that time.
    pub rates: Rates,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<LongPrompt>,
}

/// Rates of a service tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The tier that the provider says it billed.
    pub tier: Tier,
    /// The first day that it holds for, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub from: Option<Day>,
    /// The first day that it does not hold for any more, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Day")]
    pub until: Option<Day>,
    /// What differs from the standard tier.
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub rates: Rates,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<LongPrompt>,
}

/// A service tier with rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Cheaper and slower.
    Flex,
    /// Dearer and faster.
    Priority,
    /// OpenAI's still faster one.
    Fast,
    /// Asynchronous batches.
    Batch,
}

impl Tier {
    /// Whether it is that one.
    pub fn is(self, tier: ServiceTier) -> bool {
        tier.as_str() == self.as_str()
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
            Self::Batch => "batch",
        }
    }
}

/// A number in the answer that is charged: exactly one of the two rates is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointerRate {
    /// Where it stands in the answer, or in an event of it, of which the latest counts (RFC 6901).
    #[schemars(title = "a JSON pointer", example = &"/usage/special_units")]
    pub pointer: String,
    /// The price of a million of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub per_million: Option<Amount>,
    /// The price of one of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Amount")]
    pub each: Option<Amount>,
}

/// Defines [`Rates`] with one key a [`Kind`].
macro_rules! rates {
    ($($(#[$doc:meta])* $name:ident: $kind:ident),* $(,)?) => {
        /// What each kind of use costs, in US dollars.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Rates {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] #[schemars(with = "Amount")] pub $name: Option<Amount>,)*
        }

        impl Rates {
            /// The rates that are given.
            pub fn iter(&self) -> impl Iterator<Item = (Kind, Amount)> {
                [$((Kind::$kind, self.$name)),*].into_iter().filter_map(|(kind, rate)| Some((kind, rate?)))
            }

            /// Gives a kind its rate.
            pub fn set(&mut self, kind: Kind, rate: Amount) {
                match kind {
                    $(Kind::$kind => self.$name = Some(rate),)*
                }
            }
        }
    };
}

rates! {
    /// A million input tokens; also those of audio and images where these have no rate.
    input: Input,
    /// A million output tokens; also those of reasoning, audio and images where these have no rate.
    output: Output,
    /// A million input tokens from the cache.
    cache_read: CacheRead,
    /// A million input tokens written to the cache, for five minutes where there is a choice.
    cache_write: CacheWrite,
    /// A million input tokens written to the cache for an hour.
    cache_write_1h: CacheWrite1h,
    /// A million tokens of reasoning.
    reasoning: Reasoning,
    /// A million input tokens of audio.
    input_audio: InputAudio,
    /// A million input tokens of audio from the cache.
    cache_read_audio: CacheReadAudio,
    /// A million output tokens of audio.
    output_audio: OutputAudio,
    /// A million input tokens of images.
    input_image: InputImage,
    /// A million input tokens of images from the cache.
    cache_read_image: CacheReadImage,
    /// A million output tokens of images.
    output_image: OutputImage,
    /// A web search.
    web_search: WebSearch,
    /// A call of another tool of the provider.
    server_tool: ServerTool,
    /// An image made.
    image: Image,
    /// An hour of sound, in or out.
    audio_hour: Audio,
    /// A million characters to be spoken.
    characters: Characters,
    /// A search of a reranker.
    search_unit: SearchUnit,
    /// A request, whatever is in it.
    request: Request,
}

impl Entry {
    /// The rates of a moment in the standard tier, and those for long prompts.
    pub fn at(&self, at: SystemTime) -> (&Rates, &[LongPrompt]) {
        let (day, seconds) = (Day::of(at), super::seconds(at));
        let holds = |period: &&Period| {
            period.from.is_none_or(|from| day >= from)
                && period.until.is_none_or(|until| day < until)
                && period.hours.is_none_or(|hours| hours.contains(seconds))
        };
        match self.periods.iter().rev().find(holds) {
            Some(period) => (&period.rates, &period.tiers),
            None => (&self.rates, &self.tiers),
        }
    }
}

impl Rates {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl File {
    /// Reads the JSON form, without places in its errors. Price files of operators are read by the configuration's reader.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Writes it as JSON, which is YAML too, with a line an entry.
    pub fn to_json(&self) -> String {
        let mut text = format!("{{\"source\":{},\"date\":{}", line(&self.source), line(&self.date));
        let mut list = |name: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                write!(text, ",\n\"{name}\":[\n{}\n]", lines.join(",\n")).expect("writing to a string does not fail");
            }
        };
        list("providers", self.providers.iter().map(line).collect());
        list("prices", self.prices.iter().map(line).collect());
        text.push_str("}\n");
        text
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists are JSON")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
