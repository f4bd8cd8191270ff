// What the peer does with the bytes of a connection. Cuts SL 651 frames by their declared length, checks the CRC, makes an object
// of each reading (as such flows do), and answers. Nothing is kept: its answer promises nothing.
//
// It is put into a Node-RED function node in both ways: in "On Message", where people write such things, and where it is evaluated
// anew for each message and never compiled; and in "On Start", with "On Message" only calling it: the peer at its best.
const table = new Uint16Array(256);
for (let i = 0; i < 256; i++) {
    let sum = i;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >> 1) ^ 0xa001 : sum >> 1;
    table[i] = sum;
}
const names = { 0xffa1: 'forward_m3', 0xffa5: 'flow_m3h', 0x58: 'pressure_kpa' };
const buffers = context.get('buffers') || {};
context.set('buffers', buffers);
const number = (bytes, from, size) => {
    let value = 0;
    for (let i = from; i < from + size; i++) value = value * 100 + (bytes[i] >> 4) * 10 + (bytes[i] & 15);
    return value;
};
const crc = (bytes, from, to) => {
    let sum = 0xffff;
    for (let i = from; i < to; i++) sum = (sum >> 8) ^ table[(sum ^ bytes[i]) & 0xff];
    return sum;
};
context.set('take', (id, chunk) => {
    const held = buffers[id] ? Buffer.concat([buffers[id], chunk]) : chunk;
    const answers = [];
    const readings = [];
    let at = 0;
    while (held.length - at >= 14) {
        const size = 17 + (((held[at + 11] & 15) << 8) | held[at + 12]);
        if (held.length - at < size) break;
        const end = at + size - 3;
        if (crc(held, at, at + size - 2) === held.readUInt16BE(at + size - 2)) {
            let reading = null;
            for (let i = at + 30; i < end;) {
                if (held[i] === 0xf0) {
                    const [year, month] = [2000 + number(held, i + 2, 1), number(held, i + 3, 1) - 1];
                    const time = Date.UTC(year, month, number(held, i + 4, 1), number(held, i + 5, 1) - 8, number(held, i + 6, 1));
                    readings.push((reading = { time, forward_m3: null, flow_m3h: null, pressure_kpa: null }));
                    i += 7;
                    continue;
                }
                const wide = held[i] === 0xff;
                const element = wide ? held.readUInt16BE(i) : held[i];
                const definition = held[i + (wide ? 2 : 1)];
                i += wide ? 3 : 2;
                reading[names[element]] = number(held, i, definition >> 3) / 10 ** (definition & 7);
                i += definition >> 3;
            }
            const answer = Buffer.alloc(25);
            held.copy(answer, 0, at, at + 2);
            held.copy(answer, 2, at + 3, at + 8);
            answer[7] = held[at + 2];
            held.copy(answer, 8, at + 8, at + 11);
            answer.writeUInt16BE(0x8008, 11);
            answer[13] = 2;
            held.copy(answer, 14, at + 14, at + 22);
            answer[22] = 0x1b;
            answer.writeUInt16BE(crc(answer, 0, 23), 23);
            answers.push(answer);
        }
        at += size;
    }
    buffers[id] = at < held.length ? held.subarray(at) : null;
    return { readings, answer: answers.length === 1 ? answers[0] : Buffer.concat(answers) };
});
