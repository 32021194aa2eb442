
// Symbols: the characters, bytes or words that a model reads. A byte above 127 is written as a
// character from \udc80 to \udcff, as in Python's file names (PEP 383): so every text of bytes is a
// string too.
const byteSymbol = (byte) => String.fromCharCode(byte < 128 ? byte : 0xdc00 + byte);

// The bytes of a text in UTF-8.
function bytesOfText(text) {
  const encoder = new TextEncoder();
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else bytes.push(...encoder.encode(character));
  }
  return bytes;
}

// The words, punctuation marks and line ends of a text, as charlstm/text/words.py splits it.
function wordsOf(text) {
  return text.match(/\n|['’]?[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*|[^\p{L}\p{N}_\s]|_/gu) ?? [];
}

const NO_SPACE_BEFORE = new Set(",.;:!?)]}%…”’'\n");
const NO_SPACE_AFTER = new Set("([{“‘\n");
function spaceBetween(previous, word) {
  const joined = !previous || NO_SPACE_AFTER.has(previous) || NO_SPACE_BEFORE.has(word);
  return joined ? "" : " ";
}

// The symbols of a text at a level: char, byte or word. At level char, a character that is not known
// is spelled as the bytes of its UTF-8 form if all of them are known.
function splitText(text, level, isKnown = () => true) {
  if (level === "word") return wordsOf(text);
  if (level === "byte") return bytesOfText(text).map(byteSymbol);
  return [...text].flatMap((character) => {
    const bytes = isKnown(character) ? [] : bytesOfText(character).map(byteSymbol);
    return bytes.length && bytes.every(isKnown) ? bytes : character;
  });
}

// The text that symbols make. Bytes that are not UTF-8 stay as they are.
function joinSymbols(symbols, level) {
  if (level !== "word") return symbols.join("");
  return symbols.map((symbol, k) => spaceBetween(symbols[k - 1], symbol) + symbol).join("");
}

// Returns a function that gets one symbol after the other, and returns the text that each completes:
// "" for a byte after which a character is not complete.
function reader(level) {
  let previous = "";
  const decoder = new TextDecoder();
  return (symbol) => {
    if (level !== "word") {
      const code = symbol.codePointAt(0);
      if (code < 0xdc80 || code > 0xdcff) return decoder.decode() + symbol;
      return decoder.decode(Uint8Array.of(code - 0xdc00), { stream: true });
    }
    const text = spaceBetween(previous, symbol) + symbol;
    previous = symbol;
    return text;
  };
}

const NAMES = { "\n": "↵ line end", "\t": "⇥ tab", "\r": "␍ carriage return", " ": "␣ space", "\ufffd": "� another word" };

// A symbol on its own, for people.
function symbolName(symbol) {
  const code = symbol.codePointAt(0);
  if (NAMES[symbol]) return NAMES[symbol];
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`;
  if (code < 32 || (code >= 127 && code < 160)) return `\\x${code.toString(16).padStart(2, "0")}`;
  return /^\p{M}/u.test(symbol) ? `◌${symbol}` : symbol;
}
