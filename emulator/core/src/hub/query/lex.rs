//! Words, names, constants and symbols, each with the place where it begins.

use serde_json::Number;
use winnow::ascii::multispace0;
use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat};
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, one_of, take_till, take_until, take_while};

use super::problem::{QueryError, QueryProblem};

/// A token and the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'q> {
    pub(super) start: usize,
    pub(super) kind: Kind<'q>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'q> {
    /// A name in double brackets.
    Bracketed(&'q str),
    Number(Number),
    Symbol(&'static str),
    Text(String),
    /// A keyword or a plain name.
    Word(&'q str),
}

impl Kind<'_> {
    /// The token as a complaint names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bracketed(name) => format!("[[{name}]]"),
            Self::Number(number) => number.to_string(),
            Self::Symbol(symbol) => format!("'{symbol}'"),
            Self::Text(text) => format!("the string {text:?}"),
            Self::Word(word) => format!("'{word}'"),
        }
    }
}

type Input<'q> = LocatingSlice<&'q str>;
type Lexed<T> = Result<T, ErrMode<Fault>>;

/// What went wrong, if it is more than a character that begins nothing.
#[derive(Debug)]
struct Fault(Option<QueryProblem>);

impl<I: Stream> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(_: &I) -> Self {
        Self(None)
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// The tokens of a query.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, QueryError> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        let spaces: Lexed<&str> = multispace0.parse_next(&mut input);
        let start = input.current_token_start();
        let Some(first) = input.peek_token().filter(|_| spaces.is_ok()) else {
            return Ok(tokens);
        };
        match kind.parse_next(&mut input) {
            Ok(kind) => tokens.push(Token { start, kind }),
            Err(error) => {
                let problem = error.into_inner().ok().and_then(|fault| fault.0);
                let problem = problem.unwrap_or(QueryProblem::Character(first));
                return Err(QueryError::at(text, start, problem));
            }
        }
    }
}

fn kind<'q>(input: &mut Input<'q>) -> Lexed<Kind<'q>> {
    alt((
        word.map(Kind::Word),
        number.map(Kind::Number),
        text.map(Kind::Text),
        bracketed.map(Kind::Bracketed),
        symbol.map(Kind::Symbol),
    ))
    .parse_next(input)
}

fn begins_word(character: char) -> bool {
    character.is_alphabetic() || character == '_' || character == '$'
}

fn continues_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

fn word<'q>(input: &mut Input<'q>) -> Lexed<&'q str> {
    (one_of(begins_word), take_while(0.., continues_word))
        .take()
        .parse_next(input)
}

/// A name of any characters: `[[my name]]`.
fn bracketed<'q>(input: &mut Input<'q>) -> Lexed<&'q str> {
    let name = delimited("[[", take_until(1.., "]]"), "]]");
    let unclosed = |_: &mut Input<'q>| cut(QueryProblem::Unclosed("a name in double brackets"));
    alt((name, preceded("[[", unclosed))).parse_next(input)
}

fn symbol(input: &mut Input<'_>) -> Lexed<&'static str> {
    // Longer ones first.
    let pairs = alt((
        "!=".value("!="),
        "<>".value("!="),
        "<=".value("<="),
        ">=".value(">="),
    ));
    let single = alt((
        "(".value("("),
        ")".value(")"),
        "[".value("["),
        "]".value("]"),
        ",".value(","),
        ".".value("."),
        "=".value("="),
        "<".value("<"),
        ">".value(">"),
    ));
    let arithmetic = alt((
        "*".value("*"),
        "+".value("+"),
        "-".value("-"),
        "/".value("/"),
        "%".value("%"),
    ));
    alt((pairs, single, arithmetic)).parse_next(input)
}

/// A decimal number, with or without fraction and exponent, or `0x` and hexadecimal digits.
fn number(input: &mut Input<'_>) -> Lexed<Number> {
    // A word that follows at once belongs to it, so that `12ab` is one wrong number.
    let exponent = (one_of(['e', 'E']), one_of(['+', '-']), digits);
    let fraction = (".", digits);
    let taken = (
        digits,
        opt(fraction),
        alt((exponent.void(), take_while(0.., continues_word).void())),
    );
    let spelled: &str = taken.take().parse_next(input)?;
    let hexadecimal = spelled
        .strip_prefix("0x")
        .or_else(|| spelled.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(Number::from),
        None => decimal(spelled),
    };
    number.map_or_else(|| cut(QueryProblem::Number(spelled.to_owned())), Ok)
}

fn digits<'q>(input: &mut Input<'q>) -> Lexed<&'q str> {
    take_while(1.., |character: char| character.is_ascii_digit()).parse_next(input)
}

fn decimal(spelled: &str) -> Option<Number> {
    if let Ok(whole) = spelled.parse::<u64>() {
        return Some(whole.into());
    }
    let known = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let float = spelled.bytes().all(known).then(|| spelled.parse::<f64>());
    Number::from_f64(float?.ok()?)
}

/// A string between single or double quotes. A doubled quote stands for itself, as SQL has it
/// and Microsoft's own tools write it (assumed: the reference names the backslash alone).
fn text(input: &mut Input<'_>) -> Lexed<String> {
    let quote = one_of(['\'', '"']).parse_next(input)?;
    let doubled = if quote == '\'' { "''" } else { "\"\"" };
    let plain = take_till(1.., [quote, '\\']).map(str::to_owned);
    let piece = alt((plain, doubled.value(quote.to_string()), escape));
    let content = repeat(0.., piece)
        .fold(String::new, |mut content, piece: String| {
            content.push_str(&piece);
            content
        })
        .parse_next(input)?;
    let end: Lexed<char> = one_of(quote).parse_next(input);
    end.or_else(|_| cut(QueryProblem::Unclosed("a string")))?;
    Ok(content)
}

fn escape(input: &mut Input<'_>) -> Lexed<String> {
    let unicode = preceded('u', cut_err(unicode));
    let plain = one_of(['\'', '"', '\\']).map(String::from);
    let other = |input: &mut Input<'_>| match any::<_, ErrMode<Fault>>.parse_next(input) {
        Ok(character) => cut(QueryProblem::Escape(format!("\\{character}"))),
        Err(_) => cut(QueryProblem::Unclosed("a string")),
    };
    preceded('\\', alt((plain, unicode, other))).parse_next(input)
}

/// Four hexadecimal digits; two such escapes where one character takes a surrogate pair.
fn unicode(input: &mut Input<'_>) -> Lexed<String> {
    let high = unit(input)?;
    let units = if (0xD800..0xDC00).contains(&high) {
        let low = preceded("\\u", unit).parse_next(input);
        vec![high, low.unwrap_or_default()]
    } else {
        vec![high]
    };
    String::from_utf16(&units).or_else(|_| cut(QueryProblem::Escape(format!("\\u{high:04x}"))))
}

fn unit(input: &mut Input<'_>) -> Lexed<u16> {
    let hexadecimal = |character: char| character.is_ascii_hexdigit();
    let digits: &str = take_while(0..=4, hexadecimal).parse_next(input)?;
    let unit = u16::from_str_radix(digits, 16).ok();
    unit.filter(|_| digits.len() == 4)
        .map_or_else(|| cut(QueryProblem::Escape(format!("\\u{digits}"))), Ok)
}

fn cut<T>(problem: QueryProblem) -> Lexed<T> {
    Err(ErrMode::Cut(Fault(Some(problem))))
}
