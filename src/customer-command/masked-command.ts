/** A command to show: personal numbers (ktp, npwp, phone, bank account) with all but their last digits replaced by `*`. */
import type { CustomerCommand } from "./command.ts";
import { mappedAt } from "./field-sources.ts";

export function maskPersonalNumbers(command: CustomerCommand): CustomerCommand {
  return maskBelow(command, "") as CustomerCommand;
}

function maskBelow(value: unknown, path: string): unknown {
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => maskBelow(item, `${path}[${index}]`));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, below]: [string, unknown]) => [
        key,
        maskBelow(below, path === "" ? key : `${path}.${key}`),
      ]),
    );
  }
  return typeof value === "string" && mappedAt(path).isPersonalNumber === true
    ? maskNumber(value)
    : value;
}

const CHARACTERS_SHOWN_MAX = 4;

/**
 * Separators stay, so that the shape of the number can be recognised. At most the last four characters are shown, and at most a third:
 * of a short number four would be nearly all.
 */
function maskNumber(text: string): string {
  const length = text.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
  const shown = Math.min(CHARACTERS_SHOWN_MAX, Math.floor(length / 3));
  let seen = 0;
  return text.replaceAll(/[\p{L}\p{N}]/gu, (character) => {
    seen += 1;
    return seen > length - shown ? character : "*";
  });
}
