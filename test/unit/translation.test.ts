/**
 * README.md and README.id.md have the same content. After a change of one, a failure lists item by item what the other lacks: prose may
 * differ, but headings, commands, names, figures and links are the same. The reference pages in docs/ exist in English only.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** Each heading of README.md and what it is called in README.id.md, in order. */
const HEADINGS: readonly (readonly [english: string, indonesian: string])[] = [
  ["# account-sync", "# account-sync"],
  ["## How it works", "## Cara kerja"],
  ["## Try it", "## Coba dulu"],
  ["## Use it with your database", "## Pakai dengan basis data Anda"],
  ["## Guarantees", "## Jaminan"],
  ["## What it costs", "## Biayanya"],
  ["## Tests", "## Tes"],
  ["## Documentation", "## Dokumentasi"],
];

const english = parse("README.md");
const indonesian = parse("README.id.md");

test("the headings are the same, in the same order", () => {
  expect(english.headings).toEqual(HEADINGS.map(([heading]) => heading));
  expect(indonesian.headings).toEqual(HEADINGS.map(([, heading]) => heading));
});

test("each points to the other", () => {
  expect(english.links).toContain("README.id.md");
  expect(indonesian.links).toContain("README.md");
});

test.each<[string, (readme: Readme) => readonly string[]]>([
  ["names in code", ({ code }) => code],
  ["settings", ({ settings }) => settings.map(([names]) => names)],
  ["links", ({ links }) => links.filter((link) => !link.startsWith("README."))],
  ["commands of code blocks", ({ blocks }) => blocks.flatMap(toCommands)],
])("both have the same %s", (_, itemsOf) => {
  const [ours, theirs] = [itemsOf(english), itemsOf(indonesian)];

  expect(ours.length).toBeGreaterThan(5);
  expect({
    missingInIndonesian: ours.filter((item) => !theirs.includes(item)),
    missingInEnglish: theirs.filter((item) => !ours.includes(item)),
  }).toEqual({ missingInIndonesian: [], missingInEnglish: [] });
});

test("section by section there are as many code blocks, points, and rows of tables", () => {
  expect(indonesian.sections.map(toShape)).toEqual(
    english.sections.map((section, index) => ({
      ...toShape(section),
      heading: HEADINGS[index]?.[1] ?? section.heading,
    })),
  );
});

test("code blocks differ in their comments only", () => {
  expect(indonesian.blocks.map(toCommands)).toEqual(english.blocks.map(toCommands));
});

test("rows of a table begin with the same names, and settings have the same defaults", () => {
  expect(indonesian.rows.map(toNames)).toEqual(english.rows.map(toNames));
  expect(indonesian.settings).toEqual(english.settings);
});

test("every section has the same figures", () => {
  expect(indonesian.sections.map(({ lines }) => figuresIn(lines))).toEqual(
    english.sections.map(({ lines }) => figuresIn(lines)),
  );
});

test.each(["README.md", "README.id.md"])("%s is short, and so are its paragraphs", (file) => {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");
  const prose = text.replaceAll(/^```.*?^```$/gms, "").replaceAll(/^\|.*$/gm, "");
  const paragraphs = prose.split(/\n\n+|\n(?=- )/).map((paragraph) => paragraph.trim());

  expect(text.split("\n").length).toBeLessThanOrEqual(151);
  expect(paragraphs.filter((paragraph) => paragraph.split("\n").length > 4)).toEqual([]);
  expect(prose.split("\n").filter((line) => line.length > 110)).toEqual([]);
});

interface Readme {
  readonly headings: readonly string[];
  readonly sections: readonly Section[];
  readonly blocks: readonly Block[];
  /** The cells of each table's rows. */
  readonly rows: readonly (readonly string[])[];
  /** Names and default of each row that begins with environment variables. */
  readonly settings: readonly (readonly [names: string, defaults: string])[];
  readonly code: readonly string[];
  readonly links: readonly string[];
}

interface Section {
  readonly heading: string;
  /** Without code blocks. */
  readonly lines: readonly string[];
  readonly blocks: readonly Block[];
}

interface Block {
  readonly language: string;
  readonly lines: readonly string[];
}

function parse(file: string): Readme {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");
  const sections = toSections(text.split("\n"));
  const prose = sections.flatMap(({ lines }) => lines);
  const rows = prose
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
  return {
    headings: sections.map(({ heading }) => heading),
    sections,
    blocks: sections.flatMap(({ blocks }) => blocks),
    rows,
    settings: rows
      .filter(([first = ""]) => /^`[A-Z][A-Z_]+`/.test(first))
      .map(([names = "", defaults = ""]) => [names, toDefault(defaults)]),
    code: [...new Set(codeIn(prose.join("\n")))],
    links: [...new Set([...prose.join("\n").matchAll(/\]\(([^)]+)\)/g)].map(([, to = ""]) => to))],
  };
}

function toSections(lines: readonly string[]): Section[] {
  const sections: {
    heading: string;
    lines: string[];
    blocks: { language: string; lines: string[] }[];
  }[] = [];
  let isInBlock = false;
  for (const line of lines) {
    const section = sections.at(-1);
    if (line.startsWith("```")) {
      isInBlock = !isInBlock;
      if (isInBlock) section?.blocks.push({ language: line.slice(3), lines: [] });
    } else if (isInBlock) section?.blocks.at(-1)?.lines.push(line);
    else if (/^#+ /.test(line)) sections.push({ heading: line, lines: [], blocks: [] });
    else section?.lines.push(line);
  }
  return sections;
}

function toShape({ heading, lines, blocks }: Section) {
  return {
    heading,
    blocks: blocks.map(({ language }) => language),
    rows: lines.filter((line) => line.startsWith("| ")).length,
    points: lines.filter((line) => line.startsWith("- ")).length,
  };
}

const COMMENTS: Readonly<Record<string, RegExp>> = { sql: /\s*-- .*$/, sh: /(?:^|\s+)# .*$/ };

/** Without comments, which are for reading. A picture (a block of no language) has words only. */
function toCommands({ language, lines }: Block): string[] {
  if (language === "") return [];
  return lines
    .map((line) => line.replace(COMMENTS[language] ?? "", "").trim())
    .filter((line) => line !== "");
}

/** Words in a default (`embedded`, `any`) are prose; code and figures are not. */
function toDefault(cell: string): string {
  return [...codeIn(cell), ...figuresIn([cell.replaceAll(/`[^`]*`/g, "")])].join(" ");
}

function toNames([first = ""]: readonly string[]): string {
  return codeIn(first).join(" ");
}

function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code.replaceAll(/\s+/g, " "));
}

/** In any order: a sentence may put them in its own. */
function figuresIn(lines: readonly string[]): string[] {
  return [...lines.join(" ").matchAll(/\d[\d.,]*\d|\d/g)].map(([figure]) => figure).sort();
}
