/**
 * Cuts the lines of a terminal or a pipe into statements, which end with `;`, and backslash commands, which end with their line. Pure; fed
 * line by line, so that a statement over thousands of lines is read once.
 */
export type Piece =
  | { readonly kind: "statement"; readonly text: string }
  /** A COPY from or to the client, which the server would answer with more than rows. */
  | { readonly kind: "copy"; readonly text: string }
  | { readonly kind: "command"; readonly text: string };

export interface StatementReader {
  /** One line, without its end. */
  feed(line: string): Piece[];
  /**
   * What the lines so far have left open, null when nothing: a quote, `(`, a comment, `begin` for a body that BEGIN ATOMIC began, or `;`
   * for a statement without an end.
   */
  readonly open: string | null;
  /** The statement that has not ended. */
  readonly rest: Piece;
  clear(): void;
}

/** White space to PostgreSQL: fewer characters than to JavaScript. */
const SPACE = /[ \t\n\r\f\v]/;
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
/** A `$` after these belongs to a name. */
const NAME_CHARACTER = /[\w$\u0080-\uffff]/;
const COMMENT = /--[^\r\n]*/y;

export function createStatementReader(): StatementReader {
  let text = "";
  let hasContent = false;
  let parentheses = 0;
  /** `'`, `"`, `e'` (with backslash escapes), a dollar quote, or `/*`. */
  let quote: string | null = null;
  let commentDepth = 0;
  let firstWord = "";
  let lastWord = "";
  let isCopy = false;
  /** Of BEGIN ATOMIC and of each CASE in it: END ends both. */
  let bodyDepth = 0;

  const clear = () => {
    text = "";
    firstWord = "";
    lastWord = "";
    isCopy = false;
    bodyDepth = 0;
    hasContent = false;
    parentheses = 0;
    quote = null;
    commentDepth = 0;
  };

  /** How many characters at `at` belong together, within what is open. */
  function readQuoted(line: string, at: number, open: string): number {
    if (open === "/*") {
      if (line.startsWith("/*", at)) commentDepth += 1;
      else if (line.startsWith("*/", at)) commentDepth -= 1;
      else return 1;
      if (commentDepth === 0) quote = null;
      return 2;
    }
    if (open === "e'" && line[at] === "\\") return 2;
    const end = open === "e'" ? "'" : open;
    if (!line.startsWith(end, at)) return 1;
    // A doubled quote is a quote in the text.
    if (end.length === 1 && line[at + 1] === end) return 2;
    quote = null;
    return end.length;
  }

  /** The same outside of quotes and comments; notes what the characters open. */
  function readPlain(line: string, at: number): number {
    if (line.startsWith("--", at)) {
      COMMENT.lastIndex = at;
      return COMMENT.exec(line)?.[0].length ?? 2;
    }
    if (line.startsWith("/*", at)) {
      quote = "/*";
      commentDepth = 1;
      return 2;
    }
    const character = line[at] ?? "";
    if (!SPACE.test(character)) hasContent = true;
    WORD.lastIndex = at;
    const word = WORD.exec(line)?.[0];
    if (word !== undefined) {
      noteWord(word.toLowerCase());
      return word.length;
    }
    switch (character) {
      case "'":
        quote = /(?:^|[^\w$\u0080-\uffff])[eE]$/.test(line.slice(Math.max(0, at - 2), at))
          ? "e'"
          : "'";
        return 1;
      case '"':
        quote = '"';
        return 1;
      case "$": {
        DOLLAR_QUOTE.lastIndex = at;
        const tag = DOLLAR_QUOTE.exec(line)?.[0];
        if (tag === undefined || NAME_CHARACTER.test(line[at - 1] ?? "")) return 1;
        quote = tag;
        return tag.length;
      }
      case "(":
        parentheses += 1;
        return 1;
      case ")":
        parentheses = Math.max(0, parentheses - 1);
        return 1;
      default:
        return 1;
    }
  }

  function noteWord(word: string): void {
    if (firstWord === "") firstWord = word;
    if (bodyDepth > 0) {
      if (word === "case") bodyDepth += 1;
      else if (word === "end") bodyDepth -= 1;
    } else if (firstWord === "create" && lastWord === "begin" && word === "atomic") {
      bodyDepth = 1;
    } else if (firstWord === "copy" && parentheses === 0 && /^(?:from|to)$/.test(lastWord)) {
      isCopy ||= word === "stdin" || word === "stdout";
    }
    lastWord = word;
  }

  const toStatement = (): Piece => ({ kind: isCopy ? "copy" : "statement", text });

  return {
    feed(given) {
      const line = `${given}\n`;
      const pieces: Piece[] = [];
      for (let at = 0; at < line.length; ) {
        if (quote === null && line[at] === "\\") {
          pieces.push({ kind: "command", text: line.slice(at).trim() });
          return pieces;
        }
        if (quote === null && line[at] === ";" && parentheses === 0 && bodyDepth === 0) {
          if (hasContent) pieces.push(toStatement());
          clear();
          at += 1;
          continue;
        }
        const length = quote === null ? readPlain(line, at) : readQuoted(line, at, quote);
        text += line.slice(at, at + length);
        at += length;
      }
      if (!hasContent && quote === null) clear();
      return pieces;
    },
    get open() {
      if (quote !== null) return quote === "e'" ? "'" : quote;
      if (parentheses > 0) return "(";
      if (bodyDepth > 0) return "begin";
      return hasContent ? ";" : null;
    },
    get rest() {
      return toStatement();
    },
    clear,
  };
}
