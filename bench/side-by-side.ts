import type { Workload } from './stand/workload.ts'
import { backlog } from './workloads/backlog.ts'
import { drainConnections } from './workloads/drain-connections.ts'
import { drainEffect } from './workloads/drain-effect.ts'
import { drainNoop } from './workloads/drain-noop.ts'
import { fanOut } from './workloads/fan-out.ts'
import { held } from './workloads/held.ts'
import { idle } from './workloads/idle.ts'
import { latencyHalf } from './workloads/latency-half.ts'
import { latencyIdle } from './workloads/latency-idle.ts'
import { memory } from './workloads/memory.ts'
import { orders } from './workloads/orders.ts'
import { producers256 } from './workloads/producers-256.ts'
import { publishBulk } from './workloads/publish-bulk.ts'
import { publishTx } from './workloads/publish-tx.ts'
import { request } from './workloads/request.ts'
import { size } from './workloads/size.ts'
import { spike } from './workloads/spike.ts'

/** Posthaste beside what a user would pick instead, and the limits. */
export const sideBySide: readonly Workload[] = [
  publishTx,
  publishBulk,
  drainNoop,
  drainEffect,
  drainConnections,
  latencyIdle,
  latencyHalf,
  fanOut,
  idle,
  producers256,
  spike,
  request,
  orders,
  memory,
  size,
  backlog,
  held,
]
