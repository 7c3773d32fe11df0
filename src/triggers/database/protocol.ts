export type Operation = "insert" | "update" | "delete";

/** A table whose changes go to a queue. */
export interface TableSubscription {
  id: string;
  tableName: string;
  queueId: string;
  operations: Operation[];
}
