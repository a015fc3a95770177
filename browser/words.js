// What the page says, in English and in Korean.

const WORDS = {
  en: {
    title: (name) => `${name}, on this device`,
    intro: (name) =>
      `Your browser runs the .tflite files of ${name} with LiteRT.js, and compares their outputs with` +
      " those of the trained model. Nothing leaves this device.",
    error: "error",
    agrees: "agrees",
    time: "one run",
    trained: "trained",
    bytes: (n) => `${n.toLocaleString("en")} bytes`,
    yes: (count, of) => `✓ ${count} of ${of}`,
    no: (count, of) => `✗ ${count} of ${of}`,
    unclear: "cannot be judged",
    refused: "refused",
    why: (who, reason) => `LiteRT.js refuses this file on the ${who}: ${reason}`,
    and: " and the ",
    worst: (who, { run, output, component, right, came }) =>
      `The ${who} returns wrong results: in run ${run}, ` +
      `${component === null ? "" : `component ${component} of `}${output} is ${came} instead of ${right}.`,
    misfit: (reason) => `This file belongs to a different model than the check: ${reason}.`,
    changed: "This file has changed since the check. Its outputs decide.",
    notWritten: "not written: ",
    ready: "Ready.",
    failed: "LiteRT.js did not start: ",
    notShown: "The model cannot be shown: ",
    noReason: "no reason given",
    running: "Running …",
    gpu: (name) => `The GPU: ${name}.`,
    noGpu: "This browser offers no WebGPU, so only the CPU is tried.",
    insecure: "Browsers offer WebGPU on https:// and localhost only, so here only the CPU is tried.",
    lost: (reason) => `The GPU was lost (${reason}). The CPU's results stay.`,
    input: "input",
    output: "output",
    random: "The inputs are random, because no record of a check came with the file.",
    between: (share) =>
      `CPU and GPU differ by at most ${share} of the largest output. This is less than a check: the` +
      " trained model's outputs are not known here.",
    alone: "To compare its outputs with the trained model's, choose NAME.check.json together with the file.",
    recordAlone: "is a record of a check: choose its .tflite file together with it.",
    notModel: "is not a .tflite file: a model begins with different bytes.",
    notRecord: "is no record of a check: choose NAME.check.json.",
    otherVersion: "is a record of another version: convert the model again: ",
    unusable: "cannot be used: ",
    noVariant: (file) => `has no entry for ${file}.`,
    varies: "has an input with a variable batch size. Convert the model with a fixed one: ",
    variesInside: "has an input with a variable size. Build the model with a fixed one, such as ",
    cannotRun: "cannot run here: ",
    copied: "Copied.",
    selected: "Selected: copy it.",
  },
  ko: {
    names: {
      "dynamic range": "동적 범위",
      "full integer": "전체 정수",
      "full integer, float ends": "전체 정수, float 입출력",
      "part integer": "부분 정수",
      "16-bit int": "16비트 정수",
    },
    title: (name) => `이 기기에서 실행하는 ${name}`,
    intro: (name) =>
      `${name}의 .tflite 파일을 브라우저가 LiteRT.js로 실행하고, 학습한 모델의 출력과 비교합니다.` +
      " 어떤 데이터도 기기 밖으로 나가지 않습니다.",
    error: "오차",
    agrees: "일치",
    time: "추론 한 번",
    trained: "학습한 모델",
    bytes: (n) => `${n.toLocaleString("ko")}바이트`,
    yes: (count, of) => `✓ ${count}/${of}`,
    no: (count, of) => `✗ ${count}/${of}`,
    unclear: "판정 불가",
    refused: "거부됨",
    why: (who, reason) => `LiteRT.js가 이 파일을 거부했습니다(${who}): ${reason}`,
    and: ", ",
    worst: (who, { run, output, component, right, came }) =>
      `${who}의 계산 결과가 다릅니다. ${run}번째 실행에서 ${output}` +
      `${component === null ? "" : `의 성분 ${component}`}의 출력이 ${came}인데, 올바른 값은 ${right}입니다.`,
    misfit: (reason) => `이 파일은 검증 기록에 적힌 모델의 것이 아닙니다: ${reason}.`,
    changed: "이 파일은 검증 기록에 적힌 변환 결과와 다릅니다. 출력으로 판단합니다.",
    notWritten: "만들지 않음: ",
    ready: "준비되었습니다.",
    failed: "LiteRT.js를 시작하지 못했습니다: ",
    notShown: "모델을 표시하지 못했습니다: ",
    noReason: "이유를 알 수 없음",
    running: "실행 중 …",
    gpu: (name) => `GPU: ${name}`,
    noGpu: "이 브라우저에는 WebGPU가 없어 CPU에서만 실행합니다.",
    insecure: "브라우저는 https://와 localhost에서만 WebGPU를 허용하므로 여기서는 CPU에서만 실행합니다.",
    lost: (reason) => `GPU를 더 쓸 수 없습니다(${reason}). CPU의 결과는 그대로 남습니다.`,
    input: "입력",
    output: "출력",
    random: "검증 기록이 없어 난수로 실행했습니다.",
    between: (share) =>
      `CPU와 GPU의 차이는 가장 큰 출력의 ${share} 이하입니다. 학습한 모델과 비교한 것은 아니므로` +
      " 검증보다 약합니다.",
    alone: "NAME.check.json을 함께 고르면 학습한 모델의 출력과 비교합니다.",
    recordAlone: "파일은 검증 기록입니다. .tflite 파일도 함께 고르세요.",
    notModel: "파일은 .tflite 형식이 아닙니다. 첫 부분의 바이트가 모델 파일과 다릅니다.",
    notRecord: "파일은 검증 기록이 아닙니다. NAME.check.json을 고르세요.",
    otherVersion: "파일은 다른 버전의 검증 기록입니다. 모델을 다시 변환하세요: ",
    unusable: "파일은 사용할 수 없습니다: ",
    noVariant: (file) => `파일에는 ${file}의 기록이 없습니다.`,
    varies: "파일에는 배치가 고정되지 않은 입력이 있습니다. 배치를 고정해 다시 변환하세요: ",
    variesInside: "파일에는 크기가 고정되지 않은 입력이 있습니다. 크기를 고정해 모델을 다시 만드세요. 예: ",
    cannotRun: "파일은 여기서 실행할 수 없습니다: ",
    copied: "복사했습니다.",
    selected: "선택했습니다. 복사하세요.",
  },
};

export const language = navigator.language.startsWith("ko") ? "ko" : "en";
export const words = WORDS[language];
export const shown = (variant) => words.names?.[variant] ?? variant;
