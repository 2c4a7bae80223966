import { stackOf, World } from '#planner/spec-kit.js';
import { kernelFindings } from './kernel-findings.js';

describe('what the kernels say to an address check', () => {
  const world = new World(['a', 'b', 'c', 'd']);
  world.up(stackOf('s', { web: 2 }));
  world.settle();
  world.setNodeState('d', 'down');
  const vni = [...world.model.networks.values()][0]?.vni ?? 0;
  const fault = (kind: string, key: string, text: string) => ({ namespace: '', kind, key, text });

  it('is every difference that says where an address is, by network and address, and who could not be asked', async () => {
    const report = await kernelFindings(world.model, (node) => {
      if (node.name === 'c') return Promise.reject(new Error('no answer'));
      if (node.name === 'b') return Promise.resolve([]);
      return Promise.resolve([
        fault('neighbour', `wfb${vni} 10.128.0.2`, 'neighbour 10.128.0.2 is missing'),
        fault('address', 'eth0 10.128.0.3/20', 'address 10.128.0.3/20 on eth0 is missing'),
        fault('nft', 'inet weft', 'nft table inet weft is changed'),
      ]);
    });
    expect(report).toEqual({
      findings: [
        { network: '', address: '10.128.0.3', finding: 'in the kernel of node a: address 10.128.0.3/20 on eth0 is missing' },
        { network: 's_default', address: '10.128.0.2', finding: 'in the kernel of node a: neighbour 10.128.0.2 is missing' },
      ],
      unasked: ['c: no answer', 'd: it is down'],
    });
  });
});
