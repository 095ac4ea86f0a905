/** What brokers and streams carry, as plain data from the brokers' reports. Rates are per second, means over some seconds. */
export interface StreamLoad {
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Of the bytes out those that came from the broker's memory: a move has readers fetch them from the store for a while. */
  readonly memoryBytes: number;
  readonly requests: number;
}

export interface BrokerLoad extends StreamLoad {
  /** 0–1 of the cores that the broker may use. */
  readonly cpu: number;
}

/** Of a broker that is missing in `brokers` nothing is known that can be relied on: it neither gives nor takes for balance. */
export interface ClusterLoad {
  readonly brokers: ReadonlyMap<number, BrokerLoad>;
  /** By stream key (ports/stream-id.ts); a stream that is missing carries nothing that is worth mentioning. */
  readonly streams: ReadonlyMap<string, StreamLoad>;
  /** By log id, bytes that were in no object by the last report of the log's broker, however old that is. */
  readonly logs: ReadonlyMap<string, number>;
}

export const noLoad: StreamLoad = { bytesIn: 0, bytesOut: 0, memoryBytes: 0, requests: 0 };

/** What streams carry and brokers are compared by. */
export const streamResources = ['bytesIn', 'bytesOut', 'requests'] as const;
export type StreamResource = (typeof streamResources)[number];

/** Mean per broker below which a resource decides nothing: differences are noise there. */
export const negligible: Readonly<Record<StreamResource, number>> = {
  bytesIn: 256 * 1024,
  bytesOut: 256 * 1024,
  requests: 50,
};
