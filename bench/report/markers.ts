/**
 * The places in a document that a run fills: what stands between two markers is replaced, all other text is kept. Pure.
 *
 *     <!-- bench: drain -->  …  <!-- /bench -->
 */

/** A part without a section gets the command that measures it. */
export function fillMarkers(text: string, sections: ReadonlyMap<string, string>): string {
  return text.replaceAll(/<!-- bench: ([\w-]+) -->\n.*?<!-- \/bench -->/gs, (_, part: string) => {
    const section = sections.get(part) ?? `Not measured yet: \`npm run bench -- ${part}\`.`;
    return `<!-- bench: ${part} -->\n\n${section}\n\n<!-- /bench -->`;
  });
}
