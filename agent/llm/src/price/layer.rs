//! One price file, checked, and arranged for looking things up.

use std::collections::HashMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::Kind;
use super::file::{Day, Entry, File, Hours, LongPrompt, ProviderEntry, Rates, Tier};
use super::pattern::Pattern;
use super::pointers::{MAX_POINTERS, keys};
use crate::usage::ServiceTier;

/// A checked price file.
#[derive(Debug)]
pub struct Layer {
    origin: Arc<str>,
    providers: HashMap<Box<str>, Listed>,
    models: Vec<Model>,
    pub(super) settings: Box<[ProviderEntry]>,
}

/// Something in a file that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The list it is in: `prices` or `providers`.
    pub list: &'static str,
    /// Which item of that list, from 0.
    pub index: usize,
    /// Which key of that item.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What a layer says of one provider.
#[derive(Debug, Default)]
struct Listed {
    names: HashMap<Box<str>, Vec<u32>>,
    /// The most specific first, and of equals the last of the file.
    patterns: Vec<(Pattern, u32)>,
}

/// What all layers together say of one provider.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Other providers' lists, and the layer from which on they hold.
    pub(super) also: Vec<(usize, Box<str>)>,
    pub(super) cached_as_input: bool,
    standard_tiers: Vec<Tier>,
    pub(super) by_request: bool,
    pub(super) rates: Vec<(Kind, Rate)>,
}

impl Settings {
    /// Adds what a layer says, to what those above it do.
    pub(super) fn add(&mut self, depth: usize, entry: &ProviderEntry) {
        self.also.extend(entry.also.iter().map(|name| (depth, name.as_str().into())));
        self.cached_as_input |= entry.cached_as_input;
        self.standard_tiers.extend(&entry.standard_tiers);
        self.by_request |= entry.by_request;
        self.rates.extend(entry.rates.iter().map(|(kind, rate)| (kind, Rate { base: rate.0, over: Box::default() })));
    }
}

/// One entry.
#[derive(Debug)]
pub(super) struct Model {
    /// Source and date.
    pub(super) from: Arc<str>,
    except: Box<[Pattern]>,
    regions: Box<[Pattern]>,
    except_regions: Box<[Pattern]>,
    span: Span,
    /// Empty when the entry only changes what others say.
    blocks: Box<[Block]>,
    variants: Box<[(Tier, Block)]>,
    pub(super) minimum_audio_ms: u64,
    pub(super) multiply: Option<Decimal>,
    /// Pointers, by their number in [`Layer::new`]'s list, and the price of one of what they point to.
    pub(super) pointers: Box<[(u8, Decimal)]>,
}

/// From a moment on and until another, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: Option<i64>,
    until: Option<i64>,
    hours: Option<Hours>,
}

#[derive(Debug)]
pub(super) struct Block {
    span: Span,
    rates: Box<[(Kind, Rate)]>,
}

#[derive(Debug)]
pub(super) struct Rate {
    base: Decimal,
    /// Above so many tokens of input, ascending.
    over: Box<[(u64, Decimal)]>,
}

impl Rate {
    /// The rate for a prompt of so many tokens.
    pub(super) fn at(&self, input: u64) -> Decimal {
        self.over.iter().rev().find(|(over, _)| input > *over).map_or(self.base, |&(_, rate)| rate)
    }
}

impl Span {
    fn new(from: Option<Day>, until: Option<Day>, hours: Option<Hours>) -> Self {
        Self { from: from.map(Day::start), until: until.map(Day::start), hours }
    }

    fn contains(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
            && self.hours.is_none_or(|hours| hours.contains(at))
    }
}

impl Layer {
    /// Checks a file. `origin` is what it is called in reports, and `pointers` collects the pointers of all layers.
    pub(super) fn new(origin: &str, file: &File, pointers: &mut Vec<String>) -> Result<Self, Vec<Complaint>> {
        let settings = file.providers.clone().into();
        let mut layer = Self { origin: origin.into(), providers: HashMap::new(), models: Vec::new(), settings };
        let mut complaints = Vec::new();
        for (index, entry) in file.providers.iter().enumerate() {
            if entry.provider.is_empty() {
                complaints.push(Complaint::new("providers", index, "provider", "it is empty", "name the provider"));
            }
        }
        let from: Arc<str> = format!("{}, {}", file.source, file.date).into();
        for (index, entry) in file.prices.iter().enumerate() {
            check(index, entry, &mut complaints);
            let pointers = number_pointers(index, entry, pointers, &mut complaints);
            layer.list(index, entry);
            let from = match (&entry.source, entry.date) {
                (None, None) => Arc::clone(&from),
                (source, date) => {
                    let source = source.as_deref().unwrap_or(&file.source);
                    format!("{source}, {}", date.unwrap_or(file.date)).into()
                }
            };
            layer.models.push(Model::new(entry, from, pointers));
        }
        for listed in layer.providers.values_mut() {
            listed.patterns.sort_by_key(|(pattern, index)| std::cmp::Reverse((pattern.weight(), *index)));
        }
        if complaints.is_empty() { Ok(layer) } else { Err(complaints) }
    }

    fn list(&mut self, index: usize, entry: &Entry) {
        let listed = self.providers.entry(entry.provider.as_str().into()).or_default();
        let index = u32::try_from(index).expect("a file of so many lines is not read");
        let own = [entry.model.clone()];
        let names = if entry.names.is_empty() { &own[..] } else { &entry.names[..] };
        for pattern in names.iter().map(|name| Pattern::new(name)) {
            if pattern.is_name() {
                listed.names.entry(pattern.as_str().into()).or_default().insert(0, index);
            } else {
                listed.patterns.push((pattern, index));
            }
        }
    }

    /// What it is called in reports.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it has anything of a provider.
    pub(super) fn lists(&self, provider: &str) -> bool {
        self.providers.contains_key(provider)
    }

    /// The entries that a name, in lower case, has at a provider, the one that counts first, with what matched.
    pub(super) fn find(&self, provider: &str, name: &str, place: Place<'_>) -> Vec<Found<'_>> {
        let Some(listed) = self.providers.get(provider) else { return Vec::new() };
        let named = listed.names.get_key_value(name).into_iter();
        let named = named.flat_map(|(name, models)| models.iter().map(move |index| (&**name, index, true)));
        let patterns = listed.patterns.iter().filter(|(pattern, _)| pattern.matches(name));
        let all = named.chain(patterns.map(|(pattern, index)| (pattern.as_str(), index, false)));
        let mut found = Vec::new();
        for (pattern, &index, is_exact) in all {
            let model = &self.models[index as usize];
            if model.holds(name, place) {
                found.push(Found { model, index: index as usize, pattern, is_exact });
                let decides = if place.at.is_some() { model.has_rates() } else { model.decides_always() };
                if decides {
                    break;
                }
            }
        }
        found
    }

    /// The entry at a place in the file's list.
    pub(super) fn model(&self, index: usize) -> &Model {
        &self.models[index]
    }
}

/// Rates, of which the first for a kind counts: of the tier, of the model, of the provider.
pub(super) type Card<'a> = [&'a [(Kind, Rate)]; 3];

/// Where and when a call was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) region: Option<&'a str>,
    /// In seconds since 1970; at any time where there is none.
    pub(super) at: Option<i64>,
}

/// An entry that a name led to.
pub(super) struct Found<'a> {
    pub(super) model: &'a Model,
    /// Its place in its file.
    pub(super) index: usize,
    pub(super) pattern: &'a str,
    pub(super) is_exact: bool,
}

impl Model {
    fn new(entry: &Entry, from: Arc<str>, pointers: Box<[(u8, Decimal)]>) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        let own = (!entry.rates.is_empty()).then(|| Block::new(Span::default(), &entry.rates, &entry.tiers));
        let periods = entry
            .periods
            .iter()
            .map(|period| Block::new(Span::new(period.from, period.until, period.hours), &period.rates, &period.tiers));
        let variants = entry.variants.iter().map(|variant| {
            (variant.tier, Block::new(Span::new(variant.from, variant.until, None), &variant.rates, &variant.tiers))
        });
        Self {
            from,
            except: patterns(&entry.except),
            regions: patterns(&entry.regions),
            except_regions: patterns(&entry.except_regions),
            span: Span::new(entry.from, entry.until, None),
            blocks: own.into_iter().chain(periods).collect(),
            variants: variants.collect(),
            minimum_audio_ms: u64::from(entry.minimum_audio_seconds.unwrap_or(0)) * 1000,
            multiply: entry.multiply.map(|factor| factor.0),
            pointers,
        }
    }

    fn holds(&self, name: &str, place: Place<'_>) -> bool {
        // A region that is not known is none of those that are named, on either side.
        let in_any = |regions: &[Pattern]| {
            place.region.is_some_and(|region| regions.iter().any(|pattern| pattern.matches(region)))
        };
        let has_region = self.regions.is_empty() || in_any(&self.regions);
        let is_excepted = !self.except_regions.is_empty() && (place.region.is_none() || in_any(&self.except_regions));
        has_region
            && !is_excepted
            && place.at.is_none_or(|at| self.is_at(at))
            && !self.except.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it holds at a moment, in seconds since 1970.
    pub(super) fn is_at(&self, at: i64) -> bool {
        self.span.contains(at)
    }

    /// Whether no entry after it ever counts: it has rates, and holds at all times.
    pub(super) fn decides_always(&self) -> bool {
        let Span { from, until, hours } = self.span;
        self.has_rates() && from.is_none() && until.is_none() && hours.is_none()
    }

    /// Whether it says what things cost, and not only how that differs from what others say.
    pub(super) fn has_rates(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// The rates of a moment and a tier; `None` when the tier has none. The first that has a kind counts.
    /// `is_own` is false for a model of another provider's list, whose tiers are that one's.
    pub(super) fn rates<'a>(
        &'a self,
        tier: ServiceTier,
        settings: &'a Settings,
        at: i64,
        is_own: bool,
    ) -> Option<Card<'a>> {
        let active = self.blocks.iter().rev().find(|block| block.span.contains(at));
        let standard = active.map_or(&[][..], |block| &block.rates);
        let is_standard =
            tier == ServiceTier::Standard || settings.standard_tiers.iter().any(|standard| standard.is(tier));
        let variant = self.variants.iter().rev().find(|(own, block)| is_own && own.is(tier) && block.span.contains(at));
        match variant {
            Some((_, block)) => Some([&block.rates, standard, &settings.rates]),
            None => is_standard.then_some([&[], standard, &settings.rates]),
        }
    }
}

impl Block {
    fn new(span: Span, rates: &Rates, tiers: &[LongPrompt]) -> Self {
        let rate = |(kind, base): (Kind, super::file::Amount)| {
            let mut over: Vec<(u64, Decimal)> = tiers
                .iter()
                .filter_map(|tier| {
                    let (_, rate) = tier.rates.iter().find(|(other, _)| *other == kind)?;
                    Some((tier.context_over, rate.0))
                })
                .collect();
            over.sort_by_key(|(over, _)| *over);
            (kind, Rate { base: base.0, over: over.into() })
        };
        Self { span, rates: rates.iter().map(rate).collect() }
    }
}

impl Complaint {
    fn new(
        list: &'static str,
        index: usize,
        key: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self { list, index, key, message: message.into(), remedy }
    }
}

fn check(index: usize, entry: &Entry, complaints: &mut Vec<Complaint>) {
    let mut complain = |key: &'static str, message: &str, remedy: &'static str| {
        complaints.push(Complaint::new("prices", index, key, message, remedy));
    };
    if entry.provider.is_empty() {
        complain("provider", "it is empty", "name the provider");
    }
    if entry.model.is_empty() {
        complain("model", "it is empty", "name the model, or `*` for all that are not listed");
    }
    let says_nothing = entry.rates.is_empty() && entry.multiply.is_none() && entry.pointers.is_empty();
    if says_nothing && entry.periods.is_empty() {
        complain("model", "it has no rates", "add `rates`, or `multiply` to change what other files say");
    }
    if entry.rates.is_empty() && !entry.variants.is_empty() && entry.periods.is_empty() {
        complain("variants", "there are no rates that they could differ from", "add `rates`");
    }
    let spans = [(entry.from, entry.until)]
        .into_iter()
        .chain(entry.periods.iter().map(|period| (period.from, period.until)))
        .chain(entry.variants.iter().map(|variant| (variant.from, variant.until)));
    for (from, until) in spans {
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            complain("until", "it ends before it begins", "`until` is the first day that is not in it");
        }
    }
    let blocks = [("tiers", &entry.rates, &entry.tiers)]
        .into_iter()
        .chain(entry.periods.iter().map(|period| ("periods", &period.rates, &period.tiers)))
        .chain(entry.variants.iter().map(|variant| ("variants", &variant.rates, &variant.tiers)));
    for (key, rates, tiers) in blocks {
        let lacks = |kind: Kind| !rates.iter().any(|(own, _)| own == kind);
        if let Some((kind, _)) = tiers.iter().flat_map(|tier| tier.rates.iter()).find(|(kind, _)| lacks(*kind)) {
            complain(
                key,
                &format!("`{kind}` has a rate for long prompts only"),
                "add its rate for short ones to `rates`",
            );
        }
    }
}

/// Gives the entry's pointers their numbers.
fn number_pointers(
    index: usize,
    entry: &Entry,
    known: &mut Vec<String>,
    complaints: &mut Vec<Complaint>,
) -> Box<[(u8, Decimal)]> {
    let mut numbered = Vec::new();
    for rate in &entry.pointers {
        let mut complain = |message: String, remedy| {
            complaints.push(Complaint::new("prices", index, "pointers", message, remedy));
        };
        if let Err(reason) = keys(&rate.pointer) {
            complain(format!("`{}` {reason}", rate.pointer.escape_debug()), "write it as in `/usage/special_units`");
            continue;
        }
        let each = match (rate.per_million, rate.each) {
            (Some(million), None) => million.0 / Decimal::from(1_000_000),
            (None, Some(each)) => each.0,
            _ => {
                complain(format!("`{}` needs one rate", rate.pointer), "add either `per_million` or `each`");
                continue;
            }
        };
        let at = known.iter().position(|other| *other == rate.pointer).unwrap_or_else(|| {
            known.push(rate.pointer.clone());
            known.len() - 1
        });
        match u8::try_from(at) {
            Ok(number) if at < MAX_POINTERS => numbered.push((number, each)),
            _ => complain(format!("more than {MAX_POINTERS} pointers"), "use fewer; all files count together"),
        }
    }
    numbered.into()
}
