use std::fmt;
use std::sync::{Arc, LazyLock};
use std::thread;

use cel::common::types::CelBool;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use jiff::Timestamp;

use crate::{Named, Subject};

mod check;
mod facts;
mod regexes;

use facts::Facts;
use regexes::Regex;

/// Longest text of a condition, in bytes.
const LONGEST: usize = 4096;
/// How deep brackets may be nested: the parser takes twenty frames of the stack for each.
const DEEPEST: usize = 16;
/// The stack that the parser gets, which is generated, recurses, and counts only some of it. It is no more than a number until used.
const STACK: usize = 32 << 20;

/// The language.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    regexes::declare(&mut env);
    Arc::new(env)
});
/// Its functions, made once: a context of its own for each condition costs thirty times what evaluating it does.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(|| Context::with_env(Arc::clone(&ENV)));

/// A condition in CEL, the Common Expression Language (cel.dev), compiled once.
#[derive(Clone)]
pub struct Condition {
    compiled: Arc<Compiled>,
}

struct Compiled {
    text: Box<str>,
    expression: IdedExpr,
    regexes: Vec<Regex>,
    needs_body: bool,
}

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCondition(pub String);

impl Condition {
    /// Compiles a condition. It may name `caller.*`, `request.*`, `team`, `cost_center` and `now`.
    pub fn compile(text: &str) -> Result<Self, BadCondition> {
        if text.len() > LONGEST {
            return Err(BadCondition(format!(
                "a condition of more than {LONGEST} bytes is too long; use several rules"
            )));
        }
        if nesting(text) > DEEPEST {
            return Err(BadCondition(format!("brackets are nested more than {DEEPEST} deep; use several rules")));
        }
        // Whatever comes of the parser stays in its thread: should it panic, the text is refused and the agent goes on.
        let compile = || Self::compile_here(text);
        let compiled = thread::scope(|scope| {
            let builder = thread::Builder::new().name("condition".into()).stack_size(STACK);
            builder.spawn_scoped(scope, compile).map(thread::ScopedJoinHandle::join)
        });
        match compiled {
            // What it says may repeat the text, and stands on one line of a log.
            Ok(Ok(compiled)) => compiled.map_err(|BadCondition(why)| {
                BadCondition(
                    why.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect(),
                )
            }),
            Ok(Err(_)) => Err(unreadable()),
            Err(error) => Err(BadCondition(format!("there is no thread to compile it with: {error}; try again"))),
        }
    }

    fn compile_here(text: &str) -> Result<Self, BadCondition> {
        let mut expression = parse(text)?;
        let checked = check::check(&mut expression).map_err(BadCondition)?;
        let (regexes, needs_body) = (checked.regexes, checked.needs_body);
        let condition = Self { compiled: Arc::new(Compiled { text: text.into(), expression, regexes, needs_body }) };
        condition.try_out()?;
        Ok(condition)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.compiled.text
    }

    /// Whether the request's body has to be read for it.
    pub fn needs_body(&self) -> bool {
        self.compiled.needs_body
    }

    /// Whether it holds. One that fails to be told, because something is absent, does not.
    pub fn holds(&self, subject: &Subject<'_>, named: &Named, now: Timestamp) -> bool {
        self.evaluate(subject, named, now).unwrap_or(false)
    }

    /// Whether it holds, or why that cannot be told.
    pub fn evaluate(&self, subject: &Subject<'_>, named: &Named, now: Timestamp) -> Result<bool, String> {
        let facts = Facts { subject, named, now, regexes: &self.compiled.regexes };
        self.run(&facts).map_err(|error| describe(&error))
    }

    fn run(&self, facts: &Facts<'_>) -> Result<bool, ExecutionError> {
        let mut context = root().new_inner_scope();
        context.set_variable_resolver(facts);
        let value = Value::resolve_val(&self.compiled.expression, &context)?;
        let Some(holds) = value.downcast_ref::<CelBool>() else {
            let got = value.get_type().name().to_owned();
            return Err(ExecutionError::UnexpectedType { got, want: "bool".to_owned() });
        };
        Ok(*holds.inner())
    }

    /// Evaluates it for a call of which nothing is known and one of which everything is: what compares a number with a text fails
    /// for both, and is better told to who wrote it.
    fn try_out(&self) -> Result<(), BadCondition> {
        facts::examples(&self.compiled.regexes, |facts| match self.run(facts) {
            Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::UndeclaredReference(_)
                | ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::ValuesNotComparable(..)
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::MissingArgumentOrTarget),
            ) => Err(BadCondition(describe(&error))),
            _ => Ok(()),
        })
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.as_str()).finish()
    }
}

/// The shared context with the lifetime of what is evaluated in it.
fn root<'a>() -> &'a Context<'a, 'a> {
    &ROOT
}

/// Reads the text.
fn parse(text: &str) -> Result<IdedExpr, BadCondition> {
    ENV.parser().max_recursion_depth(64).parse(text).map_err(|errors| {
        let Some(error) = errors.errors.first() else { return unreadable() };
        let (line, column) = error.pos;
        let place = if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") };
        match complaint(&error.msg) {
            Some(complaint) => BadCondition(format!("{complaint}, at {place}")),
            None => unreadable(),
        }
    })
}

/// What the parser says, in words that do not ask for its grammar. `None` where those are of its insides.
fn complaint(message: &str) -> Option<String> {
    let message = message.trim_start_matches("Syntax error: ");
    let token = message.find('\'').map_or("", |at| &message[at..]);
    let token = token.split(" expecting ").next().unwrap_or_default();
    let token: String = token.chars().take(40).collect();
    if message.contains("Recursion limit") {
        return Some("it is nested too deep; use several rules".to_owned());
    }
    if ["mismatched", "extraneous", "no viable", "token recog", "missing"].iter().any(|kind| message.starts_with(kind))
    {
        let ends = token.is_empty() || token.contains("<EOF>");
        return Some(if ends { "it ends too early".to_owned() } else { format!("{token} is out of place") });
    }
    message.starts_with("invalid").then(|| message.split(':').next().unwrap_or_default().to_owned())
}

fn unreadable() -> BadCondition {
    BadCondition("this cannot be read as CEL; see cel.dev for how it is written".into())
}

/// How deep brackets are nested, those in texts included.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// What went wrong, without the values: they are the caller's.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchOverload(overload) => {
            let name = check::operator(overload.function());
            format!("{name} is not for {}", overload.argument_types().join(" and "))
        }
        ExecutionError::UnexpectedType { got, want } => format!("it is of type {got} where {want} is wanted"),
        ExecutionError::UndeclaredReference(name) => format!("there is no {name}"),
        ExecutionError::UnsupportedBinaryOperator(name, ..) => format!("{name} is not for values of these types"),
        ExecutionError::ValuesNotComparable(..) => "values of these types cannot be compared".to_owned(),
        ExecutionError::NoSuchKey(_) => "a label is not there; ask for it with has() or in".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "an index beyond its list".to_owned(),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments and got {actual}")
        }
        ExecutionError::FunctionError { function, .. } => format!("{function} could not convert its argument"),
        _ => "it could not be evaluated".to_owned(),
    }
}

#[cfg(test)]
mod tests;
