/** The fast reader returns the tree of the full parser, places and all, or none. */
import fc from 'fast-check';
import { readFast } from './fast-yaml.js';
import { readFull } from './full-yaml.js';

/** What the full parser makes of the text; undefined where it has a fault or several documents. */
function full(text: string): unknown {
  let faulty = false;
  const trees = readFull(text, 'f', () => void (faulty = true));
  return faulty || trees?.length !== 1 ? undefined : trees[0];
}

/** @returns whether the fast reader took the text */
function compare(text: string): boolean {
  const fast = readFast(text, 'f');
  if (fast) expect({ text, tree: fast }).toEqual({ text, tree: full(text) });
  return fast !== undefined;
}

const TAKEN = [
  'a: 1',
  'a:\n  b: c\n  d:\n    - e\n    - f: g\n      h: i\n',
  'a:\n- b\n- c\nd: e\n',
  '# note\n\na: b # note\n# note\nc: "d" # note\n',
  'a: [b, "c", \'d\', [e, f], { g: h }] # x\nb: { c: d, "e": 1, f: [g] }\n',
  'a: [\n  b, # one\n  c,\n]\n',
  'a: {\n  b: c,\n  d: e\n}\n',
  'x: &x { a: 1 }\nb: *x\nc:\n  <<: *x\n  d: e\n',
  'x: &x\n  a: 1\n  b: [c]\ny: &y\n  c: 2\nd:\n  <<: [*x, *y]\n  a: 3\n',
  'a: |\n  one\n   two\n\n  three $X\nb: >-\n  one\n  two\n\n  three\nc: |+\n  x\n\nd: |-\n  y',
  'a: one\n  two\n\n  three $X\nb: c\n',
  "a: \"x\\ty $A \\u0024B\"\nb: 'it''s $C'\n\"c d\": e\n'f': g\n",
  'a: !reset\nb: !reset null\nc: !override [d]\ne: !override\n  f: g\n',
  'a:\nb: ~\nc: null # x\nd:\n\n  e: f\n',
  'a: 0440\nb: 0o17\nc: 0x1F\nd: 1e3\ne: .5\nf: 1.10\ng: true\nh: no\ni: 22:22\nj: -1\nk: +1\nl: 1_000\n',
  '- a\n- b: c\n- - d\n  - e\n-\n  f: g\n',
  '---\na: b\r\nc:\r\n  - d\r\n',
  'a: http://x:80/y#z\nb: -x\nc: :x\nd: a:b\ne: x - y\nf: ?x\n',
  'a: [1, "${B:-c}"]\nb: ["${C}", d:e]\n',
];

it.each(TAKEN)('%j', (text) => {
  const tree = full(text);
  expect(tree).toBeDefined();
  if (!compare(text)) throw new Error('left to the full parser');
});

it.each([
  ['a bracket that closes nothing', 'a: b\nc: d\n}\n'],
  ['a bracket in the comment of a list', '#a: {\n  b: c,\n  d: e\n}\n'],
  ['a bracket left of the key', ' a: {\n  b: c\n}\n'],
  ['a bracket in a text', 'a: ["${\n}"]\n'],
  ['a bracket behind a comment', 'a: $A[\n  b, # on  c,\n]\n'],
  ['a bracket behind a comment, and one too many', 'a: [\n b, # x\n]\n ]\n'],
  ['a bracket behind a text', 'a: $A[\n b\n]\n'],
  ['a bracket of a list that has ended', 'a: [\n b ]\nc: d\n]\n'],
  ['an indented mark of a document', '  ---\na'],
  ['a key with a question mark', '- ? a\n- b\n'],
  ['an indentation that is said', 'a: |1\n  '],
  ['a tab before a tag', 'a:\n  - \t!override b'],
  ['an anchor that ends at a bracket', 'a: &x{ b: 1 }\n'],
  ['nothing in a list of brackets', 'a: [\n  !reset\n]\n'],
])('is right about %s, or leaves it', (_, text) => void compare(text));

const PIECES = [
  ...[
    'a',
    'b: c',
    'd:',
    '- ',
    '-',
    ': ',
    ' ',
    '  ',
    '\n',
    '\n  ',
    '\n    ',
    '\n- ',
    '\n  - ',
    '[',
    ']',
    '{',
    '}',
    ',',
    ', ',
    '"',
    "'",
    '#',
    ' #',
    '\t',
  ],
  ...[
    '&x ',
    '*x',
    '<<: *x',
    '|',
    '|-\n  ',
    '>\n  ',
    '!reset',
    '!override ',
    '!x',
    '? ',
    '---\n',
    '\r\n',
    '\\n',
    '$A',
    '~',
    '0440',
    '1.0',
    'true',
    '%',
    '@',
    '`',
    '\0',
    'é',
    '😀',
  ],
];

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 3_000);

it('any pieces of YAML', () => {
  let taken = 0;
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }), (pieces) => void (taken += Number(compare(pieces.join(''))))),
    { numRuns: RUNS },
  );
  expect(taken).toBeGreaterThan(100);
});

it('mutations of what it takes', () => {
  const edit = fc.record({ at: fc.nat({ max: 80 }), cut: fc.nat({ max: 3 }), put: fc.constantFrom('', ...PIECES) });
  fc.assert(
    fc.property(fc.constantFrom(...TAKEN), fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
      compare(edits.reduce((all, e) => all.slice(0, e.at) + e.put + all.slice(e.at + e.cut), text));
    }),
    { numRuns: RUNS },
  );
});
