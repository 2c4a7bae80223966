import { ManualClock } from '#base/manual-clock.js';
import { Contact, type ContactState } from './contact.js';

const AFTER_MS = 5_000;

function rig(): { clock: ManualClock; contact: Contact; seen: ContactState[] } {
  const clock = new ManualClock();
  const contact = new Contact({ cutOffAfterMs: () => AFTER_MS, clock });
  const seen: ContactState[] = [];
  contact.onChange(() => seen.push(contact.state));
  return { clock, contact, seen };
}

describe('contact with the controllers', () => {
  it('is unknown at first, and lost when nobody has heard the node for as long', async () => {
    const { clock, contact, seen } = rig();
    await clock.advance(AFTER_MS - 1);
    expect([contact.state, seen]).toEqual(['unknown', []]);
    await clock.advance(1);
    expect([contact.state, seen]).toEqual(['cut off', ['cut off']]);
    contact.stop();
  });

  it('counts from when what was heard was sent, not from when that was said', async () => {
    const { clock, contact, seen } = rig();
    const sentAt = clock.monotonic();
    await clock.advance(3_000);
    contact.confirmed(sentAt);
    expect(seen).toEqual(['heard']);
    await clock.advance(1_999);
    expect(contact.state).toBe('heard');
    await clock.advance(1);
    expect(seen).toEqual(['heard', 'cut off']);
    contact.stop();
  });

  it('is there again with the next word that was heard, and lost again without one', async () => {
    const { clock, contact, seen } = rig();
    await clock.advance(AFTER_MS * 2);
    contact.confirmed(clock.monotonic() - AFTER_MS);
    expect(seen).toEqual(['cut off']);
    contact.confirmed(clock.monotonic());
    for (let i = 0; i < 10; i++) {
      await clock.advance(1_000);
      contact.confirmed(clock.monotonic());
    }
    // An older word does not turn the time back.
    contact.confirmed(0);
    expect(seen).toEqual(['cut off', 'heard']);
    await clock.advance(AFTER_MS);
    expect(seen).toEqual(['cut off', 'heard', 'cut off']);
    contact.stop();
  });
});
