import { commandLine } from './commands.js';

describe('a command said in a line of ip', () => {
  it('has its words in quotes', () => {
    expect(commandLine('weft-aa', ['sysctl', '-e', 'net.ipv4.ping_group_range=0 2147483647'])?.text).toBe(
      "netns exec weft-aa 'sysctl' '-e' 'net.ipv4.ping_group_range=0 2147483647'",
    );
  });

  it.each(["a'b", 'a#b', 'a\nnetns del weft-bb', 'a\u007f', ''])('is none with a word that ip would read as something else: %j', (word) => {
    expect(commandLine('weft-aa', ['sysctl', word])).toBeUndefined();
  });
});
