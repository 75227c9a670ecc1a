/** Finds, in the line that the history keeps of a failure (judgement.ts writes it), what the API itself said. Pure. */
import { statusVerdict } from "./failure.ts";

/** null where the API said nothing, or the line is about something else. */
export function apiWordsIn(line: string): string | null {
  const [, status = "", words = ""] = ANSWERED.exec(line) ?? [];
  if (words === "") return null;

  const said = HINTED_STATUSES.map((hinted) => hinted ?? Number(status))
    .map((one) => statusVerdict(one).hint)
    .reduce((rest, hint) => (hint === "" ? rest : withoutEnd(rest, `; ${hint}`)), words);
  return DESCRIBED_BODY.test(said) ? null : said;
}

const ANSWERED =
  /^(?:create|update|delete) \(\S+ [^\s()]*\) answered (\d{3})(?: but refused| without the sections of an answer)?: (.+)$/s;

/** Of the answer's status; or of a 401, which a 403 about the token counts as. */
const HINTED_STATUSES = [null, 401];

/** In place of words, a body that held none is described. */
const DESCRIBED_BODY = /^(?:[\w.+-]+\/[\w.+-]+|no content type), \d+ characters$/;

function withoutEnd(text: string, end: string): string {
  return text.endsWith(end) ? text.slice(0, -end.length) : text;
}
