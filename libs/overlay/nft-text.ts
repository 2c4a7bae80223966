/**
 * nft text from data: chains are lists of rules, and every rule says why it is there (the text becomes the rule's
 * comment, so that `nft list ruleset` explains itself). Rules go one to a line: nft 1.0.6 refuses `}` behind a rule.
 */

/** nft keeps at most 128 bytes of a comment (NFTNL_UDATA_COMMENT_MAXLEN), its ending NUL included. */
const COMMENT_MAX_BYTES = 127;

export interface NftRule {
  rule: string;
  why: string;
}

export interface NftChain {
  name: string;
  /** `<type> hook <hook> priority <n>` for a base chain; left out for one that is jumped to. */
  hook?: string;
  rules: NftRule[];
}

export interface NftSet {
  name: string;
  kind: 'set' | 'map';
  type: string;
  /** `type` is expressions (`iifname . @th,64,128`), whose types the kernel takes. */
  byExpression?: boolean;
  /** Elements are ranges (`flags interval`); neighbours are merged. */
  interval?: boolean;
  /** Asked of every packet: of a set whose size is told the kernel makes its fastest kind. Elements then change with the table only. */
  fixed?: boolean;
  /** Asked of every packet too, and changed element by element beside the table's text: it takes so many at most. */
  capacity?: number;
  /** Elements as nft writes them. An element of a map is `key : value`. */
  elements: readonly string[];
}

export const rule = (text: string, why: string): NftRule => ({ rule: text, why });

/** The inside of a table's braces. Sets come first, then chains in the order given (a chain must stand before who jumps to it). */
export function tableText(sets: readonly NftSet[], chains: readonly NftChain[]): string {
  return [...sets.map(setText), ...chains.map(chainText)].join('\n');
}

function setText(s: NftSet): string {
  // An empty element list is a syntax error: leave the line out.
  const elements = s.elements.length === 0 ? [] : [`    elements = { ${[...s.elements].sort().join(', ')} }`];
  const interval = s.interval ? ['    flags interval', '    auto-merge'] : [];
  const most = s.capacity ?? (s.fixed ? s.elements.length : 0);
  const size = most > 0 ? [`    size ${most}`] : [];
  return [`  ${s.kind} ${s.name} {`, `    ${s.byExpression ? 'typeof' : 'type'} ${s.type}`, ...size, ...interval, ...elements, '  }'].join(
    '\n',
  );
}

function chainText(c: NftChain): string {
  const hook = c.hook === undefined ? [] : [`    type ${c.hook}; policy accept;`];
  return [`  chain ${c.name} {`, ...hook, ...c.rules.map(ruleText), '  }'].join('\n');
}

/** The rules of a chain, as `add rule` takes them. */
export const chainBody = (c: NftChain): string[] => c.rules.map((r) => ruleText(r).trim());

function ruleText({ rule: text, why }: NftRule): string {
  return why === '' ? `    ${text}` : `    ${text} comment "${why.slice(0, COMMENT_MAX_BYTES)}"`;
}
