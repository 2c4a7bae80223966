import { DotEnvFault, parseDotEnv, parseRawEnv } from './dot-env.js';

const parse = (text: string, env = {}) => parseDotEnv(text, env);

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
    ['1A=x', 1],
    ['A=1\nA B', 2],
    ['A="open', 1],
    ['\n\nA=${', 3],
  ])('%j is told with its line', (text, line) => {
    expect(() => parse(text)).toThrow(DotEnvFault);
    expect(() => parse(text)).toThrow(expect.objectContaining({ line }));
  });

  it('of format raw is taken as it is', () => {
    expect(parseRawEnv('A=$B "x" # y\n# note\nHOST\nGONE\nC= 1', { HOST: 'h' })).toEqual({ A: '$B "x" # y', HOST: 'h', C: ' 1' });
    expect(() => parseRawEnv('A=1\nB C=2', {})).toThrow(expect.objectContaining({ line: 2 }));
  });
});
