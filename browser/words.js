// The page's texts, in English and in Korean.

const WORDS = {
  en: {
    title: (name) => `${name}, on this device`,
    intro: (name) =>
      `Your browser runs the .tflite files of ${name} with LiteRT.js. The page compares their outputs` +
      " with those of the trained model. Nothing leaves this device.",
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
    gpu: (name) => `GPU: ${name}`,
    noGpu: "This browser has no WebGPU, so the files run on the CPU only.",
    insecure:
      "Browsers allow WebGPU only on https:// and localhost, so the files run on the CPU only.",
    lost: (reason) => `The GPU was lost (${reason}). The CPU's results remain valid.`,
    input: "input",
    output: "output",
    random: "The inputs are random, because the file came without the record of its check.",
    between: (share) =>
      `CPU and GPU differ by at most ${share} of the largest output. This is weaker than a check,` +
      " because the page does not have the trained model's outputs.",
    alone:
      "To compare the outputs with those of the trained model, choose NAME.check.json and the file" +
      " together.",
    recordAlone: "is the record of a check. Choose the .tflite file together with it.",
    notModel: "is not a .tflite file: its first bytes are not those of a model.",
    notRecord: "is not the record of a check. Choose NAME.check.json.",
    otherVersion: "is a record of another version. Convert the model again: ",
    unusable: "cannot be used: ",
    noVariant: (file) => `has no entry for ${file}.`,
    varies: "has an input with a variable batch size. Convert the model with a fixed batch size: ",
    variesInside: "has an input with a variable size. Build the model with a fixed size, for example: ",
    cannotRun: "cannot run here: ",
    copied: "Copied.",
    selected: "The table is selected. Copy it.",
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
      `브라우저가 ${name}의 .tflite 파일을 LiteRT.js로 실행하고, 그 출력을 학습한 모델의 출력과 비교합니다.` +
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
      `${component === null ? "" : `의 성분 ${component}`}의 값이 ${came}이지만 올바른 값은 ${right}입니다.`,
    misfit: (reason) => `이 파일의 모델은 검증 기록의 모델과 다릅니다: ${reason}.`,
    changed: "이 파일은 검증한 뒤 바뀌었습니다. 일치 여부는 출력으로 판단합니다.",
    notWritten: "만들지 않음: ",
    ready: "준비되었습니다.",
    failed: "LiteRT.js를 시작하지 못했습니다: ",
    notShown: "모델을 표시하지 못했습니다: ",
    noReason: "이유를 알 수 없음",
    running: "실행 중 …",
    gpu: (name) => `GPU: ${name}`,
    noGpu: "이 브라우저는 WebGPU를 지원하지 않아 CPU에서만 실행합니다.",
    insecure: "브라우저는 https://와 localhost에서만 WebGPU를 허용하므로 여기서는 CPU에서만 실행합니다.",
    lost: (reason) => `GPU를 더 이상 사용할 수 없습니다(${reason}). CPU의 결과는 그대로 유효합니다.`,
    input: "입력",
    output: "출력",
    random: "검증 기록이 없어 난수로 실행했습니다.",
    between: (share) =>
      `CPU와 GPU의 차이는 가장 큰 출력의 ${share} 이하입니다. 학습한 모델의 출력과 비교하지 않았으므로` +
      " 검증을 대신하지 못합니다.",
    alone: "NAME.check.json을 함께 고르면 학습한 모델의 출력과 비교합니다.",
    recordAlone: "파일은 검증 기록입니다. .tflite 파일도 함께 고르세요.",
    notModel: "파일은 .tflite 형식이 아닙니다. 첫 부분의 바이트가 모델 파일과 다릅니다.",
    notRecord: "파일은 검증 기록이 아닙니다. NAME.check.json을 고르세요.",
    otherVersion: "파일은 다른 버전의 검증 기록입니다. 모델을 다시 변환하세요: ",
    unusable: "파일은 사용할 수 없습니다: ",
    noVariant: (file) => `파일에는 ${file}에 대한 기록이 없습니다.`,
    varies: "파일에는 배치 크기가 고정되지 않은 입력이 있습니다. 배치 크기를 고정해 다시 변환하세요: ",
    variesInside: "파일에는 크기가 고정되지 않은 입력이 있습니다. 크기를 고정해 모델을 다시 만드세요. 예: ",
    cannotRun: "파일은 여기서 실행할 수 없습니다: ",
    copied: "복사했습니다.",
    selected: "표를 선택했습니다. 복사하세요.",
  },
};

export const language = navigator.language.startsWith("ko") ? "ko" : "en";
export const words = WORDS[language];
export const shown = (variant) => words.names?.[variant] ?? variant;
