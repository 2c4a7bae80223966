/** What is spelled out in the protocol loses nothing on the way. */
import { nodeFactsSchema } from '#model/node.js';
import { factsFromWire, factsToWire } from './wire.js';
import { NodeFacts } from './gen/weft/v1/types.js';

describe('node facts on the wire', () => {
  const facts = nodeFactsSchema.parse({
    nodeId: 'aaaaaaaa',
    hostname: 'h',
    name: 'n',
    address: '192.0.2.1',
    addresses: ['192.0.2.1/24'],
    routes: ['192.0.2.0/24'],
    versions: { kernel: '6.1' },
    devices: ['eth0'],
    advertised: ['eth0'],
    images: ['0123456789ab'],
    features: ['macvlan'],
    findings: [{ code: 'x', severity: 'risk', what: 'w', remedy: 'r' }],
    quarantine: 'q',
    driftRepairs: 1,
    repairs: [{ at: 1, what: 'w' }],
    at: 5,
  });

  it('come out as they went in', () => {
    const read = NodeFacts.decode(NodeFacts.encode(factsToWire(facts)).finish());
    expect(factsFromWire(read)).toEqual(facts);
  });

  it('have a field for each of the model', () => {
    const fields = Object.keys(NodeFacts.fromPartial({}));
    expect(Object.keys(nodeFactsSchema.shape).filter((name) => !fields.includes(name))).toEqual([]);
  });
});
