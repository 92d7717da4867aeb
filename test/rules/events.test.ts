import { expect, test, vi } from 'vitest'
import { EventTimeout } from '../../src/errors.ts'
import { EventBus, type Logger, logTo } from '../../src/events.ts'

const DEAD = { queue: 'billing', messageId: 'm', type: 't', attempt: 3, reason: 'max-attempts', error: undefined }

test('an event without a listener ends nothing', () => {
  const bus = new EventBus()
  expect(() => bus.emit('error', { where: 'relay', error: { name: 'Error', message: 'x' } })).not.toThrow()
  expect(bus.heard('error')).toBe(false)
})

test('a listener hears until it unsubscribes', () => {
  const bus = new EventBus()
  const heard: string[] = []
  const off = bus.on('routed', ({ messages }) => heard.push(`on ${messages}`))
  bus.once('routed', ({ messages }) => heard.push(`once ${messages}`))
  const offAny = bus.onAny((name) => heard.push(name))
  bus.emit('routed', { messages: 1, deliveries: 1, queues: 1 })
  off()
  bus.emit('routed', { messages: 2, deliveries: 1, queues: 1 })
  offAny()
  bus.emit('routed', { messages: 3, deliveries: 1, queues: 1 })
  expect(heard).toEqual(['on 1', 'once 1', 'routed', 'routed'])
})

test('a listener that throws harms nobody, and is reported once', async () => {
  const bus = new EventBus()
  const [warnings, heard] = [vi.fn(), vi.fn()]
  bus.on('warning', warnings)
  bus.on('dead-lettered', () => {
    throw new Error('card 4111111111111111')
  })
  bus.on('dead-lettered', async () => Promise.reject(new Error('later')))
  bus.on('dead-lettered', heard)
  for (let n = 0; n < 3; n += 1) bus.emit('dead-lettered', DEAD)
  await vi.waitFor(() => expect(warnings).toHaveBeenCalledTimes(2))
  expect(heard).toHaveBeenCalledTimes(3)
  expect(warnings).toHaveBeenCalledWith({ code: 'LISTENER_FAILED', message: 'A listener threw: card [digits]' })
})

test('a listener of warnings that throws does not run in circles', () => {
  const bus = new EventBus()
  const broken = vi.fn(() => {
    throw new Error('x')
  })
  bus.on('warning', broken)
  bus.emit('warning', { code: 'A', message: 'a' })
  expect(broken.mock.calls.length).toBeLessThanOrEqual(2)
})

test('until waits for the event that was meant, and not for ever', async () => {
  const bus = new EventBus()
  const dead = bus.until('dead-lettered', ({ queue }) => queue === 'billing')
  bus.emit('dead-lettered', { ...DEAD, queue: 'other' })
  bus.emit('dead-lettered', DEAD)
  expect(await dead).toBe(DEAD)
  expect(bus.heard('dead-lettered')).toBe(false)
  await expect(bus.until('routed', undefined, { timeoutMs: 5 })).rejects.toThrow(EventTimeout)
  const broken = bus.until('dead-lettered', () => {
    throw new Error('in the predicate')
  })
  bus.emit('dead-lettered', DEAD)
  await expect(broken).rejects.toThrow('in the predicate')
})

test('a logger gets every event with its facts, at a level that says whether eyes are needed', () => {
  const bus = new EventBus()
  const lines: unknown[] = []
  const at = (level: string) => (fields: object, message: string) => lines.push([level, message, fields])
  const logger: Logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  bus.onAny(logTo(logger))
  bus.emit('routed', { messages: 1, deliveries: 2, queues: 1 })
  bus.emit('dead-lettered', DEAD)
  expect(lines).toEqual([
    ['debug', 'posthaste routed', { event: 'routed', messages: 1, deliveries: 2, queues: 1 }],
    ['warn', 'posthaste dead-lettered', { event: 'dead-lettered', ...DEAD }],
  ])
})
