//! The firewall's rules: ordered, in up to three contexts, compiled by the same matcher as selectors.
//!
//! ```text
//! header | rules of Global | matcher | rules of RouteDomain | matcher | rules of VirtualServer | matcher
//! ```
//! Each part starts at a multiple of eight words. A lookup is the [`matcher`](crate::matcher)'s, whose
//! answer is a place, and one word with the rule's number and action.
//!
//! Words are in the writer's byte order; the magic number read in the wrong order does not match.
//! [`PassRules::open`] tests that:
//! - I1: every part lies in the words given, and the matcher accepts its own;
//! - I2: every rule has a known action. A place without a rule, which only damaged words name, drops.

use core::fmt;

use super::rule::{Context, PassRule, RuleAction, RuleFault, RuleId};
use crate::error::SetupError;
use crate::headers::InnerHeaders;
use crate::matcher::block::BlockError;
use crate::matcher::{self, Matcher};

/// "espF" in the writer's byte order.
const MAGIC: u32 = 0x6573_7046;
/// Format of the words. A reader refuses any other.
const FORMAT: u32 = 1;
/// Words of a cache line: parts start at a multiple of this.
const LINE: usize = 8;
/// Bits of a rule's word that say the action.
const ACTION_BITS: u32 = 8;

/// Why rules were not compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RulesError {
    /// A rule is wrong in itself.
    Rule {
        /// Its place in the list.
        place: usize,
        /// What is wrong.
        fault: RuleFault,
    },
    /// The default of the virtual server is to accept decisively: there is nothing behind it.
    Default,
    /// Too many rules, or too little memory.
    Setup(SetupError),
}

impl From<SetupError> for RulesError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { place, fault } => write!(f, "the rule at place {place}: {fault}"),
            Self::Default => f.write_str("a default is accept, drop or reject"),
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RulesError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Rule { fault, .. } => Some(fault),
            Self::Setup(error) => Some(error),
            Self::Default => None,
        }
    }
}

/// An iterator whose length was counted before.
struct Counted<I> {
    inner: I,
    left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let next = self.inner.next();
        self.left = if next.is_some() { self.left.saturating_sub(1) } else { 0 };
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

fn of_context(rules: &[PassRule], context: Context) -> Counted<impl Iterator<Item = &PassRule>> {
    let of = move |rule: &&PassRule| rule.context == context;
    Counted { inner: rules.iter().filter(of), left: rules.iter().filter(of).count() }
}

fn in_lines(words: usize) -> Result<usize, SetupError> {
    words.checked_next_multiple_of(LINE).ok_or(SetupError::TooLarge)
}

/// Words of memory that [`compile_rules_into`] needs for these rules; fewer remain in use.
///
/// # Errors
/// [`SetupError::TooLarge`]: more than 32-bit offsets reach.
pub fn words_to_compile_rules(rules: &[PassRule]) -> Result<usize, SetupError> {
    let mut all = LINE;
    for context in Context::ALL {
        let count = of_context(rules, context).len();
        for part in [count, matcher::words_to_compile(count)?] {
            all = all.checked_add(in_lines(part)?).ok_or(SetupError::TooLarge)?;
        }
    }
    Ok(all)
}

/// Compiles rules, in the order in which they are asked in each context, and the default of the
/// virtual server into `memory`; returns how many of its first words [`PassRules::open`] needs.
/// Searches are fastest if the memory starts at a multiple of 64 octets. The same rules give the
/// same words.
///
/// # Bound
/// O(n log n) on average.
///
/// # Errors
/// [`RulesError`]; what is in `memory` then is of no use.
pub fn compile_rules_into(
    rules: &[PassRule],
    default: RuleAction,
    memory: &mut [u64],
) -> Result<usize, RulesError> {
    let mut before: Option<&PassRule> = None;
    for (place, rule) in rules.iter().enumerate() {
        let fault = |fault| RulesError::Rule { place, fault };
        rule.validate().map_err(fault)?;
        if before.is_some_and(|one| {
            one.id == rule.id && (one.context, one.action) != (rule.context, rule.action)
        }) {
            return Err(fault(RuleFault::Mixed));
        }
        before = Some(rule);
    }
    if default == RuleAction::AcceptDecisively {
        return Err(RulesError::Default);
    }
    let needed = words_to_compile_rules(rules)?;
    let memory = memory.get_mut(..needed).ok_or(SetupError::MemoryTooSmall)?;
    let (header, parts) =
        memory.split_first_chunk_mut::<LINE>().ok_or(SetupError::MemoryTooSmall)?;
    let mut sizes = [0; 3];
    let mut used = 0;
    for (size, context) in sizes.iter_mut().zip(Context::ALL) {
        let free = parts.get_mut(used..).ok_or(SetupError::MemoryTooSmall)?;
        let of_this = of_context(rules, context);
        let count = of_this.len();
        let (words, free) =
            free.split_at_mut_checked(in_lines(count)?).ok_or(SetupError::MemoryTooSmall)?;
        words.fill(0);
        words.iter_mut().zip(of_this).for_each(|(word, rule)| *word = rule.word());
        let taken = words.len();
        let selectors = Counted {
            inner: of_context(rules, context).map(|rule| Ok::<_, SetupError>(rule.selector())),
            left: count,
        };
        let compiled = matcher::compile_into(selectors, free)?;
        let padding = free.get_mut(compiled..in_lines(compiled)?);
        let padding = padding.ok_or(SetupError::MemoryTooSmall)?;
        padding.fill(0);
        let part = taken.checked_add(in_lines(compiled)?).ok_or(SetupError::TooLarge)?;
        used = used.checked_add(part).ok_or(SetupError::TooLarge)?;
        let fits = |words| u32::try_from(words).map_err(|_| SetupError::TooLarge);
        *size = pair(fits(count)?, fits(compiled)?);
    }
    let [global, domain, server] = sizes;
    *header = [pair(MAGIC, FORMAT), default as u64, global, domain, server, 0, 0, 0];
    used.checked_add(LINE).ok_or(SetupError::TooLarge.into())
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Compiles rules for [`PassRules::open`], as [`compile_rules_into`].
///
/// # Errors
/// [`RulesError`].
#[cfg(feature = "alloc")]
pub fn compile_rules(
    rules: &[PassRule],
    default: RuleAction,
) -> Result<alloc::vec::Vec<u64>, RulesError> {
    let needed = words_to_compile_rules(rules)?;
    let mut words = alloc::vec::Vec::new();
    words.try_reserve_exact(needed).map_err(|_| SetupError::OutOfMemory)?;
    words.resize(needed, 0);
    let used = compile_rules_into(rules, default, &mut words)?;
    words.truncate(used);
    words.shrink_to_fit();
    Ok(words)
}

/// Why words are not compiled rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Fewer words than the header says.
    Short,
    /// Not compiled rules, or written on a machine of the other byte order.
    Magic,
    /// A format that this version does not read.
    Format {
        /// The format found.
        found: u32,
    },
    /// The default is not accept, drop or reject.
    Default,
    /// A rule has no known action.
    Rule {
        /// Where it stands.
        context: Context,
        /// Its place there.
        place: u32,
    },
    /// What the matcher of a context says of its part.
    Matcher {
        /// The context.
        context: Context,
        /// What is wrong.
        error: BlockError,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("fewer words than the header says"),
            Self::Magic => f.write_str("not compiled rules of this machine's byte order"),
            Self::Format { found } => write!(f, "format {found}, but this version reads {FORMAT}"),
            Self::Default => f.write_str("the default is not accept, drop or reject"),
            Self::Rule { context, place } => {
                write!(f, "{context}: the rule at place {place} has no known action")
            }
            Self::Matcher { context, error } => write!(f, "{context}: {error}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Matcher { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Who decided about a packet without a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DecidedBy {
    /// The rule with this number.
    Rule(RuleId),
    /// No rule covered it: the default of the virtual server, or words that are damaged.
    Default,
}

impl fmt::Display for DecidedBy {
    /// As logs write it: the rule, or `(Default)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => id.fmt(f),
            Self::Default => f.write_str("(Default)"),
        }
    }
}

/// What the rules say of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What becomes of it. [`RuleAction::Accept`] is final here: the last context was asked.
    pub action: RuleAction,
    /// Who said so.
    pub by: DecidedBy,
    /// Where.
    pub context: Context,
}

/// The rules of one context.
#[derive(Clone, Copy)]
struct Part<'w> {
    matcher: Matcher<'w>,
    rules: &'w [u64],
}

impl<'w> Part<'w> {
    /// The part that `words` start with, and the words behind it.
    fn open(words: &'w [u64], size: u64, context: Context) -> Result<(Self, &'w [u64]), OpenError> {
        let split = |words: &'w [u64], count: u32| {
            let (part, rest) = words.split_at_checked(in_lines(count as usize).ok()?)?;
            Some((part.get(..count as usize)?, rest))
        };
        let (rules, rest) = split(words, size as u32).ok_or(OpenError::Short)?;
        let (matcher, rest) = split(rest, (size >> 32) as u32).ok_or(OpenError::Short)?;
        for (place, &word) in (0..).zip(rules) {
            if action(word).is_none() {
                return Err(OpenError::Rule { context, place });
            }
        }
        let matcher =
            Matcher::open(matcher).map_err(|error| OpenError::Matcher { context, error })?;
        Ok((Self { matcher, rules }, rest))
    }

    #[inline]
    fn first(&self, packet: &InnerHeaders) -> Option<(RuleAction, DecidedBy)> {
        let place = self.matcher.first(packet)?;
        let word = self.rules.get(place as usize);
        let known = word
            .and_then(|&word| Some((action(word)?, DecidedBy::Rule(RuleId((word >> 32) as u32)))));
        Some(known.unwrap_or((RuleAction::Drop, DecidedBy::Default)))
    }
}

fn action(word: u64) -> Option<RuleAction> {
    match word as u32 {
        code if code < 1 << ACTION_BITS => RuleAction::from_code(code as u8),
        _ => None,
    }
}

/// A view of compiled rules, made of words that [`compile_rules_into`] wrote, in this process or
/// another one. Needs no allocator.
///
/// # Concurrency
/// Any thread; copy it.
#[derive(Clone, Copy)]
pub struct PassRules<'w> {
    parts: [Part<'w>; 3],
    default: RuleAction,
    /// How many words there are.
    words: usize,
}

impl fmt::Debug for PassRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassRules")
            .field("boxes", &self.len())
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl<'w> PassRules<'w> {
    /// The rules in `words`, which are tested first; what lies behind them is left alone.
    ///
    /// # Bound
    /// Linear in the rules.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the words; nothing of them is used then.
    pub fn open(words: &'w [u64]) -> Result<Self, OpenError> {
        let (header, rest) = words.split_first_chunk::<LINE>().ok_or(OpenError::Short)?;
        let &[kind, default, global, domain, server, ..] = header;
        if kind as u32 != MAGIC {
            return Err(OpenError::Magic);
        }
        if kind >> 32 != u64::from(FORMAT) {
            return Err(OpenError::Format { found: (kind >> 32) as u32 });
        }
        let default = action(default)
            .filter(|&action| action != RuleAction::AcceptDecisively && default >> 32 == 0)
            .ok_or(OpenError::Default)?;
        let (global, rest) = Part::open(rest, global, Context::Global)?;
        let (domain, rest) = Part::open(rest, domain, Context::RouteDomain)?;
        let (server, rest) = Part::open(rest, server, Context::VirtualServer)?;
        let words = words.len().saturating_sub(rest.len());
        Ok(Self { parts: [global, domain, server], default, words })
    }

    /// Octets of its words.
    pub fn octets(&self) -> usize {
        self.words.saturating_mul(8)
    }

    /// Boxes over all contexts.
    pub fn len(&self) -> usize {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.rules.len()))
    }

    /// True if there is no rule: the default decides.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The default of the virtual server.
    pub fn default_action(&self) -> RuleAction {
        self.default
    }

    /// What becomes of a packet that has no flow: the first rule that covers it in each context,
    /// one context after the other until one does not merely accept.
    ///
    /// # Bound
    /// As [`Matcher::first`] and one word, three times.
    #[inline]
    pub fn decide(&self, packet: &InnerHeaders) -> Decision {
        let last = Context::VirtualServer;
        let mut decision = Decision { action: self.default, by: DecidedBy::Default, context: last };
        for (part, context) in self.parts.iter().zip(Context::ALL) {
            match part.first(packet) {
                // Another context has a say yet.
                Some((RuleAction::Accept, _)) if context != last => {}
                Some((action, by)) => {
                    decision = Decision { action, by, context };
                    break;
                }
                None => {}
            }
        }
        decision
    }
}
