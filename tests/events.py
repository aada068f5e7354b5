"""Reading back what loggers wrote, with as little of their own code as possible."""

import struct


def tensorboard(folder):
    """Steps and values of each tag as TensorBoard shows them, what was purged left out."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    events = []
    for file in sorted(folder.glob("*tfevents*")):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == SessionLog.START:
                events = [e for e in events if e.step < event.step]
            events.append(event)
    found = {}
    for event in events:
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def wandb(path):
    """The records of an offline run's .wandb file: 32 KiB blocks, as LevelDB's logs have."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + size > len(data):
            return
        parts.append(data[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):  # the whole of a record, or its last part
            yield Record.FromString(b"".join(parts))
            parts = []
