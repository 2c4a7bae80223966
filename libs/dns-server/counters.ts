/** What the name server has done since it started. Whole numbers that only grow. */
export interface Counters {
  udpRequests: number;
  tcpRequests: number;
  /** Answered with REFUSED: strangers, and questions that are nobody's. */
  refused: number;
  /** Asked outside. */
  forwarded: number;
  /** Of those, without an answer. */
  failed: number;
  /** No DNS request, or no room to send an answer. */
  dropped: number;
}

export const newCounters = (): Counters => ({ udpRequests: 0, tcpRequests: 0, refused: 0, forwarded: 0, failed: 0, dropped: 0 });
