import { parseDotEnv } from './dot-env.js';

const parse = (text: string, env = {}) => parseDotEnv(text, '.env', env);

describe('.env', () => {
  it.each<[string, Record<string, string>]>([
    ['', {}],
    ['# note\n\n  \nA=1\r\nB = two words \n', { A: '1', B: 'two words' }],
    ['export A=1', { A: '1' }],
    ['A: yaml', { A: 'yaml' }],
    ['A=', { A: '' }],
    ['A=x # note', { A: 'x' }],
    ['A=x#y', { A: 'x#y' }],
    ['A=# note', { A: '' }],
    ["A='$B \\n # literal' # note", { A: '$B \\n # literal' }],
    ['A="tab\\tline\\n\\"q\\" \\\\ \\$B"', { A: 'tab\tline\n"q" \\ $B' }],
    ['A="two\nlines"\nB=2', { A: 'two\nlines', B: '2' }],
    ['A=1\nB=${A}2\nC="$B-$HOST"', { A: '1', B: '12', C: '12-h' }],
    ['HOST=own\nB=$HOST', { HOST: 'own', B: 'h' }],
    ['HOST\nGONE', { HOST: 'h' }],
    ['\uFEFFA=1', { A: '1' }],
  ])('%j', (text, expected) => expect(parse(text, { HOST: 'h' })).toEqual(expected));

  it.each([
    ['1A=x', '.env:1'],
    ['A=1\nA B', '.env:2'],
    ['A="open', '.env:1'],
    ['\n\nA=${', '.env:3'],
  ])('%j is told with its line', (text, place) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'BAD_VALUE', what: `${place} cannot be read` }));
  });
});
